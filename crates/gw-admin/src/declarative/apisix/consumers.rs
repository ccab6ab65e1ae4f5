//! Consumers, their credentials and groups.

use std::collections::BTreeSet;

use gw_schema::ViolationKind;

use super::conf::Conf;
use super::ledger::Entity;
use super::merge::{self, Use};
use super::plugins::{CREDENTIALS, Scope};
use super::shelf::Item;
use super::{Mapping, credentials};

impl Mapping<'_> {
    /// All consumers of the file, and their groups.
    pub(super) fn consumers(&mut self) {
        let shelf = self.shelf;
        for item in shelf.list("consumer_groups").iter().filter(|item| item.is_right) {
            let mut group = Entity::new(&item.pointer);
            group.set_from("name", item.id.clone(), format!("{}/id", item.pointer));
            if let Some(tags) = super::tags(&item.fields) {
                group.set_from("tags", tags, format!("{}/labels", item.pointer));
            }
            self.tell_of_exceptions(item);
            self.plugins(&merge::nearest(&[item]), Scope::Group, &mut group);
            self.ledger.add("consumer_groups", group);
        }
        // A list may hold both: consumers, and credentials by ids such as `jack/credentials/key`.
        let all = || shelf.list("consumers").iter().chain(shelf.list("credentials"));
        let owner = |item: &Item| {
            let (name, _) = item.id.as_deref()?.split_once("/credentials/")?;
            Some(
                name.trim_start_matches('/')
                    .trim_start_matches("consumers/")
                    .to_owned(),
            )
        };
        for item in shelf.list("consumers").iter().filter(|item| item.is_right) {
            let Some(username) = item.text("username") else {
                if owner(item).is_none() {
                    let at = format!("{}/username", item.pointer);
                    self.ledger
                        .fault(at, "required field missing", ViolationKind::Required);
                }
                continue;
            };
            let of_this = all().filter(|other| other.is_right && owner(other).as_deref() == Some(username));
            let credentials: Vec<&Item> = of_this.collect();
            self.consumer(item, username, &credentials);
        }
        for item in all().filter(|item| item.is_right && item.text("username").is_none()) {
            let Some(name) = owner(item) else {
                if item.pointer.starts_with("/credentials/") {
                    let hint = "write it as `NAME/credentials/ID`";
                    let at = format!("{}/id", item.pointer);
                    let message = "the id does not say whose it is";
                    self.ledger
                        .fault_with(at, message, ViolationKind::Reference, hint);
                }
                continue;
            };
            let is = |consumer: &Item| consumer.text("username") == Some(&name);
            if !shelf.list("consumers").iter().any(is) {
                let at = format!("{}/id", item.pointer);
                let message = format!("there is no consumer '{name}'");
                self.ledger.fault(at, &message, ViolationKind::Reference);
            }
        }
    }

    fn consumer(&mut self, item: &Item, username: &str, credentials: &[&Item]) {
        let shelf = self.shelf;
        let mut consumer = Entity::new(&item.pointer);
        consumer.set("username", username);
        if let Some(tags) = super::tags(&item.fields) {
            consumer.set_from("tags", tags, format!("{}/labels", item.pointer));
        }
        if let Some(group) = shelf.named(
            "consumer_groups",
            &item.fields,
            "group_id",
            &item.pointer,
            &mut self.ledger,
        ) {
            let mut link = Entity::new(&format!("{}/group_id", item.pointer));
            link.set("name", group.id.clone());
            consumer.adopt("groups", link);
        }
        self.tell_of_exceptions(item);
        let (own, others): (Vec<Use>, Vec<Use>) = merge::nearest(&[item])
            .into_iter()
            .partition(|plugin| CREDENTIALS.contains(&plugin.name.as_str()));
        for plugin in &own {
            self.credential(plugin, &mut consumer);
        }
        for item in credentials {
            for plugin in merge::nearest(&[*item]) {
                if CREDENTIALS.contains(&plugin.name.as_str()) {
                    self.credential(&plugin, &mut consumer);
                } else {
                    let at = plugin.pointer;
                    let message = format!("'{}' has no credentials here", plugin.name);
                    let hint = "there are key-auth, basic-auth, jwt-auth and hmac-auth";
                    self.ledger.fault_with(at, &message, ViolationKind::Other, hint);
                }
            }
        }
        self.plugins(&others, Scope::Consumer, &mut consumer);
        if let Some(groups) = self.groups.remove(username) {
            self.join(&groups, &mut consumer);
        }
        self.ledger.add("consumers", consumer);
    }

    /// A credential of a consumer, if there are such credentials here.
    fn credential(&mut self, plugin: &Use, consumer: &mut Entity) {
        let Some((list, read)) = credentials::of(&plugin.name) else {
            return;
        };
        if self.kinds.by_name(list).is_none() {
            let ours = if plugin.name == "jwt-auth" {
                "jwt"
            } else {
                &plugin.name
            };
            let mut absent = Entity::new(&plugin.pointer);
            absent.set("name", ours);
            return consumer.adopt("plugins", absent);
        }
        let mut conf = Conf::new(self, plugin, Scope::Consumer);
        read(&mut conf);
        conf.finish_credential(list, consumer);
    }

    /// Plugins that are switched off for some consumers only.
    fn tell_of_exceptions(&mut self, item: &Item) {
        for plugin in merge::of(item).iter().filter(|plugin| plugin.is_off) {
            let what = format!(
                "'{}' runs for these consumers too, where a route has it",
                plugin.name
            );
            let remedy = "give them an instance that lets everything pass";
            self.ledger.unsupported(&plugin.pointer, what, remedy);
        }
    }

    /// Groups of access lists a consumer is in.
    fn join(&mut self, groups: &BTreeSet<String>, consumer: &mut Entity) {
        for group in groups {
            let mut member = Entity::new("/consumers");
            member.set("group", group.as_str());
            consumer.adopt("acls", member);
        }
    }
}
