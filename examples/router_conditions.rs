//! Two routes told apart by path, host, method, client address and an argument of the query.

use gw_router::{Expr, Lookup, Router, Rule};
use http::Method;
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut router = Router::new();
    router.insert(
        Rule::path("/aa")?
            .host("foo.com".parse()?)
            .method(Method::GET)
            .method(Method::POST)
            .remotes(["127.0.0.1".parse()?]),
        "metadata /aa",
    )?;
    router.insert(
        Rule::path("/bb*")?
            .host("*.bar.com".parse()?)
            .host("gloo.com".parse()?)
            .method(Method::GET)
            .method(Method::POST)
            .method(Method::PUT)
            .remotes(["fe80:fe80::/64".parse()?])
            .expression(Expr::from_json(&json!([["arg_name", "==", "jack"]]))?),
        "metadata /bb",
    )?;
    let find = |lookup: Lookup<'_>| router.find(&lookup).map(|found| *found.value);

    let aa = Lookup::new(&Method::GET, "foo.com", "/aa").remote_addr("127.0.0.1".parse()?);
    assert_eq!(find(aa), Some("metadata /aa"));
    assert_eq!(find(aa.method(&Method::PUT)), None);
    assert_eq!(find(aa.host("bar.com")), None);
    assert_eq!(find(aa.remote_addr("127.0.0.2".parse()?)), None);

    let bb = Lookup::new(&Method::PUT, "www.bar.com", "/bb/cc")
        .remote_addr("fe80:fe80::7".parse()?)
        .query("name=jack");
    assert_eq!(find(bb), Some("metadata /bb"));
    assert_eq!(find(bb.host("gloo.com")), Some("metadata /bb"));
    assert_eq!(find(bb.query("name=jill")), None);
    assert_eq!(find(bb.remote_addr("fe80::7".parse()?)), None);
    Ok(())
}
