use std::fs;

use super::*;

fn refused(file: &mut FileDiscovery) -> String {
    file.read().unwrap_err().reason()
}

#[test]
fn each_read_returns_the_present_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    let mut file = FileDiscovery::new(&path);
    for (text, count) in [("http://a:1\n", 1), ("http://a:1\nhttp://b:1\n", 2), ("# empty\n", 0)] {
        fs::write(&path, text).unwrap();
        assert_eq!(file.read().unwrap().unwrap().len(), count);
    }
}

#[test]
fn an_invalid_file_is_refused_with_its_name_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    let named = format!("the list of peers in {}", path.display());
    let mut file = FileDiscovery::new(&path);
    assert_eq!(refused(&mut file), format!("{named} cannot be read: No such file or directory (os error 2)"));
    assert_eq!(file.read().unwrap_err().kind(), ErrorKind::BadOption);
    for (bytes, why) in [
        (b"http://a:1\n\xff\n".to_vec(), "it is not valid UTF-8"),
        (b"# long\n".repeat(200_000), "it is longer than 1 MiB"),
        (
            b"http://a:1\nhttp://b:3".to_vec(),
            "line 2 is the last one and has no line end: it may be half written",
        ),
    ] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(refused(&mut file), format!("{named}: {why}"));
        assert_eq!(file.read().unwrap_err().kind(), ErrorKind::BadPeer);
    }
    assert_eq!(
        refused(&mut FileDiscovery::new(folder.path())),
        format!("the list of peers in {}: it is not a regular file", folder.path().display())
    );
}

#[test]
#[cfg(unix)]
fn a_named_pipe_is_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("the command `mkfifo` exists").success());
    assert!(refused(&mut FileDiscovery::new(path)).ends_with("it is not a regular file"));
}

#[test]
fn a_peer_that_is_listed_twice_is_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("peers");
    let mut file = FileDiscovery::new(&path);
    fs::write(&path, "http://a:1\nhttp://a:1\n").unwrap();
    for _ in 0..2 {
        assert_eq!(file.read().unwrap().unwrap().len(), 1);
        assert_eq!(file.reported_repeats, ["line 2 names http://a:1 as line 1 does: it counts once"]);
    }
    fs::write(&path, "http://a:1\n").unwrap();
    file.read().unwrap();
    assert!(file.reported_repeats.is_empty());
}
