//! Scripts: found to run, to fail, and to lack what they import.

use gw_testkit::python;
use tokio::task::JoinError;

async fn script(text: &str) -> Option<Result<Vec<String>, String>> {
    let python = python(&["sys", "json"]).await?;
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let file = dir.path().join("script.py");
    std::fs::write(&file, text).expect("it is our own directory");
    let ran = tokio::spawn(async move { python.run(&file, ["one", "two"]).await }).await;
    let said = |panic: JoinError| panic.into_panic().downcast::<String>();
    Some(ran.map_err(|panic| *said(panic).expect("a panic with a message")))
}

#[tokio::test]
async fn a_script_gets_its_arguments_and_what_it_says_comes_back() {
    let Some(said) = script("import sys\nprint(*sys.argv[1:])\nprint('three', file=sys.stderr)\n").await
    else {
        return;
    };
    let mut said = said.unwrap();
    said.sort();
    assert_eq!(said, ["one two", "three"]);
}

#[tokio::test]
async fn a_script_that_fails_fails_the_test_and_says_why() {
    let Some(ran) = script("assert 1 == 2, 'one is not two'\n").await else {
        return;
    };
    let said = ran.unwrap_err();
    assert!(said.contains("script.py ended with exit status: 1"), "{said}");
    assert!(said.contains("one is not two"), "{said}");
}
