use super::*;
use crate::cluster::object::{Key, Pod};

fn snapshot(directory: &tempfile::TempDir) -> Snapshot {
    Snapshot {
        path: directory.path().join("below/state"),
        identity: "source here".into(),
    }
}

fn objects() -> Vec<Object> {
    let pod = |nth: u8| Pod {
        key: Key::new("default", &format!("pod-{nth}")),
        address: [10, 0, 0, nth].into(),
    };
    let pods = (0..200).map(|nth| Object::Pod(pod(nth)));
    [Object::Namespace(Key::new("", "default"))]
        .into_iter()
        .chain(pods)
        .collect()
}

fn read(snapshot: &Snapshot) -> Result<Option<Vec<Object>>, SnapshotError> {
    let mut read = Vec::new();
    let written = snapshot.read(|object| read.push(object));
    assert!(written.is_ok() || read.is_empty(), "all or nothing");
    Ok(written?.map(|_| read))
}

#[test]
fn what_was_written_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let snapshot = snapshot(&directory);
    assert!(read(&snapshot).unwrap().is_none(), "there is no file yet");
    let written = snapshot.write(objects().into_iter()).unwrap();
    assert!(read(&snapshot).unwrap().is_none(), "not committed yet");
    written.commit().unwrap();
    assert_eq!(read(&snapshot).unwrap().unwrap(), objects());
    let empty = snapshot.write(std::iter::empty()).unwrap();
    empty.commit().unwrap();
    assert_eq!(
        read(&snapshot).unwrap().unwrap(),
        [],
        "the newer one counts"
    );
}

#[test]
fn other_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let snapshot = snapshot(&directory);
    let written = snapshot.write(objects().into_iter()).unwrap();
    written.commit().unwrap();
    let other = Snapshot {
        identity: "source there".into(),
        ..snapshot.clone()
    };
    let error = read(&other).unwrap_err().to_string();
    assert!(
        error.ends_with("is of another cluster or of other settings: `source here`"),
        "{error}"
    );
    for (content, expected) in [
        (&b""[..], "no snapshot that"),
        (b"apiVersion: v1\n", "no snapshot that"),
        (b"martlet snapshot 2\nsource here\n", "no snapshot that"),
        (b"martlet snapshot 3\nsource here\n", "damaged"),
    ] {
        fs::write(&snapshot.path, content).unwrap();
        let error = read(&snapshot).unwrap_err().to_string();
        assert!(error.contains(expected), "{content:?}: {error}");
    }
}

#[test]
fn any_damage_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let snapshot = snapshot(&directory);
    let written = snapshot.write(objects().into_iter().take(3)).unwrap();
    written.commit().unwrap();
    let whole = fs::read(&snapshot.path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&snapshot.path, &damaged).unwrap();
        assert!(read(&snapshot).is_err(), "octet {at}");
        fs::write(&snapshot.path, &whole[..at]).unwrap();
        assert!(read(&snapshot).is_err(), "cut at {at}");
    }
    fs::write(&snapshot.path, [&whole[..], b"x"].concat()).unwrap();
    assert!(read(&snapshot).is_err(), "one octet too many");
    fs::write(&snapshot.path, &whole).unwrap();
    assert_eq!(read(&snapshot).unwrap().unwrap().len(), 3);
}
