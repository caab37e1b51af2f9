use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

const LIMIT: u64 = 1000;
const PDF: &[u8] = b"%PDF-1.7";

fn store() -> (tempfile::TempDir, FileStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path().join("files"), LIMIT).unwrap();
    (dir, store)
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

/// Every file below a directory, by its path from there.
fn listed(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(listed(&path).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

#[test]
fn a_file_is_stored_once_under_its_hash_for_us_alone() {
    let (_dir, store) = store();
    let first = store.put(PDF).unwrap();
    assert_eq!(store.put(PDF).unwrap(), first);
    assert_eq!((first.size, &first.hash), (8, &FileHash::of(PDF)));
    let hash = first.hash.as_str();
    assert_eq!(listed(&store.root), [format!("{}/{hash}", &hash[..2])]);
    assert_eq!(store.get(&first.hash).unwrap().as_deref(), Some(PDF));
    assert_eq!(mode(&store.path(&first.hash)), 0o600);
    assert_eq!((mode(&store.root), mode(&store.shelf(&first.hash))), (0o700, 0o700));
}

#[test]
fn pieces_make_the_same_file() {
    let (_dir, store) = store();
    let mut new = store.begin().unwrap();
    PDF.chunks(3).for_each(|piece| new.write(piece).unwrap());
    assert_eq!(new.finish().unwrap(), store.put(PDF).unwrap());
    let empty = store.put(b"").unwrap();
    assert_eq!(store.get(&empty.hash).unwrap().as_deref(), Some(&b""[..]));
}

#[test]
fn what_is_too_large_leaves_nothing() {
    let (_dir, store) = store();
    store.put(&[0; LIMIT as usize]).unwrap();
    let before = listed(&store.root);
    assert!(matches!(store.put(&[0; LIMIT as usize + 1]), Err(FileError::TooLarge { limit: LIMIT })));
    let mut new = store.begin().unwrap();
    new.write(PDF).unwrap();
    drop(new);
    assert_eq!(listed(&store.root), before);
}

#[test]
fn a_crashed_writers_remains_are_cleared_at_the_next_start() {
    let (_dir, store) = store();
    let kept = store.put(PDF).unwrap();
    let mut new = store.begin().unwrap();
    new.write(b"half").unwrap();
    // As kill -9 would leave it.
    new.temp.disable_cleanup(true);
    drop(new);
    assert_eq!(listed(&store.root).len(), 2);
    let store = FileStore::open(store.root.clone(), LIMIT).unwrap();
    assert_eq!(listed(&store.root).len(), 1);
    assert!(store.get(&kept.hash).unwrap().is_some());
}

#[test]
fn an_unknown_hash_is_no_file_and_a_removed_one_is_gone() {
    let (_dir, store) = store();
    let kept = store.put(PDF).unwrap();
    assert_eq!(store.get(&FileHash::of(b"other")).unwrap(), None);
    assert!(store.remove(&kept.hash).unwrap());
    assert!(!store.remove(&kept.hash).unwrap());
    assert!(store.open_file(&kept.hash).unwrap().is_none());
}

#[test]
fn only_a_hash_can_be_asked_for() {
    let hash = FileHash::of(PDF);
    assert_eq!(hash.as_str().parse(), Ok(hash.clone()));
    let upper = hash.as_str().to_uppercase();
    let padded = format!("{hash} ");
    let climbing = format!("../{}", &hash.as_str()[3..]);
    let cyrillic = format!("{}е", &hash.as_str()[2..]);
    for wrong in ["", "..", "/etc/passwd", &upper, &padded, &climbing, &cyrillic, &hash.as_str()[..63]] {
        assert_eq!(wrong.parse::<FileHash>(), Err(NoHash), "{wrong:?}");
    }
}

#[test]
fn damage_is_seen_and_mended_by_the_same_content() {
    let (_dir, store) = store();
    let kept = store.put(PDF).unwrap();
    for damage in [&b"%PDF-1.8"[..], b"", &[b'x'; 5000]] {
        fs::write(store.path(&kept.hash), damage).unwrap();
        assert!(matches!(store.get(&kept.hash), Err(FileError::Damaged(hash)) if hash == kept.hash));
    }
    store.put(PDF).unwrap();
    assert_eq!(store.get(&kept.hash).unwrap().as_deref(), Some(PDF));
}

#[test]
fn a_planted_link_is_neither_followed_nor_written_through() {
    let (dir, store) = store();
    let secret = dir.path().join("secret");
    fs::write(&secret, PDF).unwrap();
    let hash = FileHash::of(PDF);
    fs::create_dir(store.shelf(&hash)).unwrap();
    symlink(&secret, store.path(&hash)).unwrap();
    assert!(matches!(store.get(&hash), Err(FileError::Io { .. })));
    store.put(PDF).unwrap();
    assert!(store.path(&hash).symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read(&secret).unwrap(), PDF);

    // The same for a whole shelf.
    let other = FileHash::of(b"other");
    symlink(dir.path(), store.shelf(&other)).unwrap();
    assert!(matches!(store.put(b"other"), Err(FileError::Io { .. })));
    assert_eq!(listed(dir.path()).iter().filter(|name| name.ends_with(other.as_str())).count(), 0);
}

#[test]
fn the_root_may_be_a_link_to_a_larger_disk_but_not_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, link, file) = (dir.path().join("disk"), dir.path().join("link"), dir.path().join("file"));
    fs::create_dir(&disk).unwrap();
    symlink(&disk, &link).unwrap();
    fs::write(&file, "").unwrap();
    assert!(FileStore::open(&link, LIMIT).unwrap().put(PDF).is_ok());
    assert!(FileStore::open(&file, LIMIT).is_err());
    assert!(FileStore::open(dir.path().join("no/such"), LIMIT).is_err());
}

#[test]
fn writers_of_the_same_content_do_not_disturb_each_other() {
    let (_dir, store) = store();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(store.put(PDF).unwrap().hash, FileHash::of(PDF))));
        }
    });
    assert_eq!(store.get(&FileHash::of(PDF)).unwrap().as_deref(), Some(PDF));
    assert_eq!(listed(&store.root).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_was_put_is_what_is_got(content in prop::collection::vec(any::<u8>(), 0..LIMIT as usize)) {
        let (_dir, store) = store();
        let stored = store.put(&content).unwrap();
        prop_assert_eq!(store.get(&stored.hash).unwrap(), Some(content));
    }

    #[test]
    fn no_text_that_is_a_hash_leaves_its_shelf(text in "[0-9a-f]{64}|[./a-f0-9]{60,68}") {
        if let Ok(hash) = text.parse::<FileHash>() {
            let root = Path::new("/r");
            let path = FileStore { root: root.into(), limit: std::sync::Arc::default() }.path(&hash);
            prop_assert_eq!(path.parent().and_then(Path::parent), Some(root));
        }
    }
}
