//! Documents that must be refused: a line each, with what must be said of it.

use super::Furnished;

/// A document that must be refused.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) method: String,
    pub(super) path: String,
    /// As JSON; empty for a request without a body.
    pub(super) document: String,
    pub(super) status: u16,
    pub(super) code: u8,
    /// A pointer into the answer's `fields`, and a part of what is there.
    pub(super) field: String,
    pub(super) why: String,
}

/// All of them. `<service>` and the like stand for ids of what there is, `<nobody>` for an id of nothing.
pub(super) fn all(at: &Furnished) -> Vec<Bad> {
    let nobody = uuid::Uuid::new_v4().to_string();
    let tables = [SERVICES, ROUTES, CONSUMERS, PLUGINS, UPSTREAMS];
    let lines = tables
        .iter()
        .flat_map(|table| table.lines())
        .filter(|line| !line.is_empty());
    let filled = lines.map(|line| {
        let ids = [
            ("<service>", &at.service),
            ("<route>", &at.route),
            ("<consumer>", &at.consumer),
            ("<plugin>", &at.plugin),
            ("<upstream>", &at.upstream),
            ("<nobody>", &nobody),
        ];
        ids.iter()
            .fold(line.to_owned(), |line, (name, id)| line.replace(name, id))
    });
    filled.map(|line| parse(&line)).collect()
}

fn parse(line: &str) -> Bad {
    let cells: Vec<_> = line.split('|').map(str::trim).collect();
    let [request, document, refusal, field, why] = cells[..] else {
        panic!("five cells, not {}: {line}", cells.len());
    };
    let (method, path) = request.split_once(' ').expect("method and path");
    let (status, code) = refusal.split_once(' ').expect("status and code");
    Bad {
        method: method.to_owned(),
        path: path.trim().to_owned(),
        document: document.to_owned(),
        status: status.parse().expect("a status"),
        code: code.parse().expect("a code"),
        field: field.to_owned(),
        why: why.to_owned(),
    }
}

const SERVICES: &str = r#"
POST   /services           | {}                                               | 400 2 | /host            | required field missing
POST   /services           | {"host":null}                                    | 400 2 | /host            | required field missing
POST   /services           | {"host":7}                                       | 400 2 | /host            | expected a string
POST   /services           | {"host":"a.test:80"}                             | 400 2 | /host            |
POST   /services           | {"host":"a b"}                                   | 400 2 | /host            |
POST   /services           | {"url":"invalid url"}                            | 400 2 | /host            |
POST   /services           | {"url":"ftp://a.test"}                           | 400 2 | /protocol        | expected one of
POST   /services           | {"host":"a","port":65536}                        | 400 2 | /port            | value should be between 0 and 65535
POST   /services           | {"host":"a","port":-1}                           | 400 2 | /port            | value should be between 0 and 65535
POST   /services           | {"host":"a","port":"http"}                       | 400 2 | /port            | expected an integer
POST   /services           | {"host":"a","port":80.5}                         | 400 2 | /port            | expected an integer
POST   /services           | {"host":"a","protocol":"gopher"}                 | 400 2 | /protocol        | expected one of: grpc, grpcs, http, https
POST   /services           | {"host":"a","path":"x"}                          | 400 2 | /path            | should start with: /
POST   /services           | {"host":"a","path":"/a//b"}                      | 400 2 | /path            |
POST   /services           | {"host":"a","path":"/%zz"}                       | 400 2 | /path            |
POST   /services           | {"host":"a","path":"/a?b"}                       | 400 2 | /path            |
POST   /services           | {"host":"a","path":"/a","protocol":"tcp"}        | 400 2 | /path            | value must be null
POST   /services           | {"host":"a","tls_verify":true}                   | 400 2 | /tls_verify      | value must be null
POST   /services           | {"host":"a","retries":32768}                     | 400 2 | /retries         | value should be between 0 and 32767
POST   /services           | {"host":"a","connect_timeout":0}                 | 400 2 | /connect_timeout | value should be between 1 and 2147483646
POST   /services           | {"host":"a","read_timeout":2147483647}           | 400 2 | /read_timeout    | value should be between 1 and 2147483646
POST   /services           | {"host":"a","name":"a b"}                        | 400 2 | /name            | invalid value
POST   /services           | {"host":"a","name":""}                           | 400 2 | /name            |
POST   /services           | {"host":"a","enabled":"yes"}                     | 400 2 | /enabled         | expected a boolean
POST   /services           | {"host":"a","tags":"one"}                        | 400 2 | /tags            | expected a set
POST   /services           | {"host":"a","tags":["a,b"]}                      | 400 2 | /tags/0          | invalid tag
POST   /services           | {"host":"a","id":"7"}                            | 400 2 | /id              | expected a valid UUID
POST   /services           | {"host":"a","prot":80}                           | 400 2 | /prot            | unknown field
POST   /services           | {"host":"a","name":"kept"}                       | 409 5 | /name            | kept
POST   /services           | {"host":"a","id":"<service>"}                    | 400 3 | /id              | <service>
POST   /services           | {"host":"a","client_certificate":{"id":"<nobody>"},"protocol":"https"} | 400 4 | /client_certificate/id | <nobody>
PATCH  /services/<service> | {"host":null}                                    | 400 2 | /host            | required field missing
PATCH  /services/<service> | {"port":"x"}                                     | 400 2 | /port            | expected an integer
PATCH  /services/kept      | {"nam":"x"}                                      | 400 2 | /nam             | unknown field
PATCH  /services/<service> | {"id":"<nobody>"}                                | 400 2 | /id              | immutable field cannot be updated
PATCH  /services/nobody    | {"port":1}                                       | 404 6 | /name            | nobody
PUT    /services/other     | {}                                               | 400 2 | /host            | required field missing
PUT    /services/<service> | {"name":"kept"}                                  | 400 2 | /host            | required field missing
DELETE /services/<service> |                                                  | 400 4 | /@referenced_by  | routes
DELETE /services/kept      |                                                  | 400 4 | /@referenced_by  | routes
"#;

const ROUTES: &str = r#"
POST  /routes           | {}                                                    | 400 2 | /@entity/0   | must set one of 'methods', 'hosts', 'headers', 'paths'
POST  /routes           | {"paths":[]}                                          | 400 2 |              |
POST  /routes           | {"paths":"/"}                                         | 400 2 | /paths       | expected an array
POST  /routes           | {"paths":["x"]}                                       | 400 2 | /paths/0     | should start with: /
POST  /routes           | {"paths":["/","~/("]}                                 | 400 2 | /paths/1     |
POST  /routes           | {"paths":["/a//b"]}                                   | 400 2 | /paths/0     | must not have empty segments
POST  /routes           | {"methods":["get"]}                                   | 400 2 | /methods/0   | invalid value
POST  /routes           | {"hosts":["*.*.test"]}                                | 400 2 | /hosts/0     |
POST  /routes           | {"uris":["/a","/{"]}                                  | 400 2 | /uris/1      | single brace
POST  /routes           | {"query":{"a":["~*("]}}                               | 400 2 | /query/a     | unclosed group
POST  /routes           | {"remote_addrs":["10.0.0.0/33"]}                      | 400 2 | /remote_addrs/0 | from 0 to 32
POST  /routes           | {"vars":[["arg_a","is","b"]]}                         | 400 2 | /vars/0/1    | there is no operator `is`
POST  /routes           | {"vars":[["tier","==","b"]]}                          | 400 2 | /vars/0/0    | there is no variable `tier`
POST  /routes           | {"paths":["/"],"priority":"high"}                     | 400 2 | /priority    | expected an integer
POST  /explain          | {"url":"nowhere"}                                     | 400 2 | /url         | expected a URL
POST  /routes           | {"hosts":["a b"]}                                     | 400 2 | /hosts/0     |
POST  /routes           | {"hosts":["a.test:99999"]}                            | 400 2 | /hosts/0     |
POST  /routes           | {"headers":{"host":["a"]}}                            | 400 2 | /headers     |
POST  /routes           | {"headers":{"x":[]}}                                  | 400 2 | /headers/x   | length must be at least 1
POST  /routes           | {"headers":{"x":"y"}}                                 | 400 2 | /headers/x   | expected an array
POST  /routes           | {"paths":["/"],"protocols":["http","tcp"]}            | 400 2 | /protocols   |
POST  /routes           | {"paths":["/"],"protocols":[]}                        | 400 2 | /protocols   | length must be at least 1
POST  /routes           | {"paths":["/"],"protocols":["gopher"]}                | 400 2 | /protocols/0 | expected one of
POST  /routes           | {"paths":["/"],"strip_path":"yes"}                    | 400 2 | /strip_path  | expected a boolean
POST  /routes           | {"paths":["/"],"https_redirect_status_code":303}      | 400 2 | /https_redirect_status_code | expected one of
POST  /routes           | {"paths":["/"],"path_handling":"v2"}                  | 400 2 | /path_handling  | expected one of: v0, v1
POST  /routes           | {"paths":["/"],"regex_priority":"high"}               | 400 2 | /regex_priority | expected an integer
POST  /routes           | {"paths":["/"],"service":"kept"}                      | 400 2 | /service     | expected a record
POST  /routes           | {"paths":["/"],"service":{}}                          | 400 2 | /service/id  | required field missing
POST  /routes           | {"paths":["/"],"service":{"id":"kept"}}               | 400 2 | /service/id  | expected a valid UUID
POST  /routes           | {"path":["/"]}                                        | 400 2 | /path        | unknown field
POST  /routes           | {"paths":["/"],"service":{"id":"<nobody>"}}           | 400 4 | /service/id  | <nobody>
POST  /routes           | {"paths":["/"],"service":{"name":"x"}}                | 400 13 | /service/name | cannot be resolved
PATCH /routes/<route>   | {"paths":null}                                        | 400 2 | /@entity/0   | must set one of
PATCH /routes/<route>   | {"paths":["x"]}                                       | 400 2 | /paths/0     | should start with: /
PATCH /routes/<route>   | {"service":{"id":"<nobody>"}}                         | 400 4 | /service/id  | <nobody>
PATCH /routes/<service> | {"name":"x"}                                          | 404 6 | /id          | <service>
PUT   /routes/<route>   | {"hosts":["a b"]}                                     | 400 2 | /hosts/0     |
PUT   /routes/<nobody>  | {}                                                    | 400 2 | /@entity/0   | must set one of
"#;

const CONSUMERS: &str = r#"
POST  /consumers               | {}                                             | 400 2 | /@entity/0 | at least one of these fields must be non-empty: 'custom_id', 'username'
POST  /consumers               | {"username":7}                                 | 400 2 | /username  | expected a string
POST  /consumers               | {"name":"x"}                                   | 400 2 | /name      | unknown field
POST  /consumers               | {"username":"kept"}                            | 409 5 | /username  | kept
POST  /consumers               | {"username":"x","custom_id":"kept-id"}         | 409 5 | /custom_id | kept-id
PATCH /consumers/kept          | {"username":null,"custom_id":null}             | 400 2 | /@entity/0 | at least one of these fields must be non-empty
PATCH /consumers/<nobody>      | {"username":"x"}                               | 404 6 | /id        | <nobody>
POST  /consumers/kept/key-auth | {"key":"kept-key"}                             | 409 5 | /key       | kept-key
POST  /consumers/kept/key-auth | {"key":7}                                      | 400 2 | /key       | expected a string
POST  /consumers/kept/key-auth | {"key":"x","ttl":"soon"}                       | 400 2 | /ttl       | expected an integer
POST  /consumers/kept/key-auth | {"key":"x","ttl":-1}                           | 400 2 | /ttl       | value should be between 0 and 100000000
POST  /consumers/kept/key-auth | {"kee":"x"}                                    | 400 2 | /kee       | unknown field
POST  /key-auths               | {"key":"x"}                                    | 400 2 | /consumer  | required field missing
POST  /key-auths               | {"key":"x","consumer":{"id":"<nobody>"}}       | 400 4 | /consumer/id | <nobody>
PATCH /key-auths/kept-key      | {"consumer":{"id":"<route>"}}                  | 400 4 | /consumer/id | <route>
"#;

const PLUGINS: &str = r#"
POST  /plugins                | {}                                                         | 400 2 | /name | required field missing
POST  /plugins                | {"name":"nonsense"}                                        | 400 2 | /name | plugin 'nonsense' not enabled; add it to the 'plugins' configuration property
POST  /plugins                | {"name":"key-auth","config":{"key_name":["x"]}}            | 400 2 | /config/key_name | unknown field
POST  /plugins                | {"name":"key-auth","config":{"key_names":[]}}              | 400 2 | /config/key_names | length must be at least 1
POST  /plugins                | {"name":"key-auth","config":{"key_names":["a b"]}}         | 400 2 | /config/key_names/0 |
POST  /plugins                | {"name":"key-auth","config":{"key_in_header":"perhaps"}}   | 400 2 | /config/key_in_header | expected a boolean
POST  /plugins                | {"name":"key-auth","config":{"anonymous":7}}               | 400 2 | /config/anonymous | expected a string
POST  /plugins                | {"name":"key-auth","config":[]}                            | 400 2 | /config | expected a record
POST  /plugins                | {"name":"key-auth","protocols":["gopher"]}                 | 400 2 | /protocols/0 | expected one of
POST  /plugins                | {"name":"key-auth","consumer":{"id":"<consumer>"}}         | 400 2 | /consumer | value must be null
POST  /plugins                | {"name":"key-auth","route":{"id":"<route>"},"protocols":["grpc"]} | 400 2 | /protocols | must match the associated route's protocols
POST  /consumers/kept/plugins | {"name":"key-auth"}                                        | 400 2 | /consumer | value must be null
POST  /plugins                | {"name":"key-auth","route":{"id":"<nobody>"}}              | 400 4 | /route/id | <nobody>
POST  /plugins                | {"name":"key-auth","route":{"id":"<route>"}}               | 409 5 | /name | key-auth
POST  /plugins                | {"name":"key-auth","instance_name":"kept"}                 | 409 5 | /instance_name | kept
PATCH /plugins/<plugin>       | {"config":{"key_in_header":1}}                             | 400 2 | /config/key_in_header | expected a boolean
PATCH /plugins/kept           | {"config":{"x":1}}                                         | 400 2 | /config/x | unknown field
PATCH /plugins/<plugin>       | {"name":"nonsense"}                                        | 400 2 | /name | not enabled
"#;

const UPSTREAMS: &str = r#"
POST  /upstreams                             | {}                                   | 400 2 | /name   | required field missing
POST  /upstreams                             | {"name":"10.0.0.1"}                  | 400 2 | /name   | Invalid name
POST  /upstreams                             | {"name":"a.test:80"}                 | 400 2 | /name   | Invalid name
POST  /upstreams                             | {"name":"b","slots":9}               | 400 2 | /slots  | value should be between 10 and 65536
POST  /upstreams                             | {"name":"b","algorithm":"fastest"}   | 400 2 | /algorithm | expected one of
POST  /upstreams                             | {"name":"b","hash_on":"header"}      | 400 2 |         |
POST  /upstreams                             | {"name":"b","healthchecks":{"threshold":101}} | 400 2 | /healthchecks/threshold | value should be between 0 and 100
POST  /upstreams                             | {"name":"b","healthchecks":{"activ":{}}} | 400 2 | /healthchecks/activ | unknown field
POST  /upstreams                             | {"name":"b","healthchecks":{"active":{"healthy":{"http_statuses":[200,99]}}}} | 400 2 | /healthchecks/active/healthy/http_statuses/1 | value should be between 100 and 999
POST  /upstreams                             | {"name":"b","healthchecks":[]}       | 400 2 | /healthchecks | expected a record
POST  /upstreams                             | {"name":"kept.test"}                 | 409 5 | /name   | kept.test
POST  /upstreams/<upstream>/targets          | {}                                   | 400 2 | /target | required field missing
POST  /upstreams/<upstream>/targets          | {"target":"a b"}                     | 400 2 | /target | Invalid target; not a valid hostname or ip address
POST  /upstreams/<upstream>/targets          | {"target":"a.test:99999"}            | 400 2 | /target | Invalid target; not a valid hostname or ip address
POST  /upstreams/<upstream>/targets          | {"target":""}                        | 400 2 | /target |
POST  /upstreams/<upstream>/targets          | {"target":"a.test","weight":65536}   | 400 2 | /weight | value should be between 0 and 65535
POST  /upstreams/<upstream>/targets          | {"target":"a.test","weight":-1}      | 400 2 | /weight | value should be between 0 and 65535
POST  /upstreams/<upstream>/targets          | {"target":"a.test","weight":"heavy"} | 400 2 | /weight | expected an integer
POST  /upstreams/<upstream>/targets          | {"target":"a.test","wait":1}         | 400 2 | /wait   | unknown field
POST  /upstreams/<upstream>/targets          | {"target":"127.0.0.1:9"}             | 409 5 | /target | 127.0.0.1:9
PATCH /upstreams/kept.test/targets/127.0.0.1:9  | {"weight":-1}                     | 400 2 | /weight | value should be between 0 and 65535
PATCH /upstreams/kept.test/targets/127.0.0.1:10 | {"weight":1}                      | 404 6 | /target | 127.0.0.1:10
"#;
