//! The mailbox's disk is full, and the store's is not. Skipped where no file system can be mounted.

use std::path::{Path, PathBuf};
use std::process::Command;

use opros::mailbox::trouble::UNAVAILABLE;

use super::house::{House, until};

struct Mounted(PathBuf);

impl Mounted {
    fn small(at: &Path) -> Option<Mounted> {
        let options = ["-t", "tmpfs", "-o", "size=600k,mode=2770", "tmpfs"];
        let done = Command::new("mount").args(options).arg(at).output().is_ok_and(|done| done.status.success());
        if !done {
            eprintln!("nothing can be mounted here");
        }
        done.then(|| Mounted(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_called_one_and_what_was_inserted_is_taken_when_there_is_room() {
    let mut house = House::closed().await;
    let directory = house.path().parent().unwrap().to_owned();
    std::fs::create_dir(&directory).unwrap();
    let Some(_mounted) = Mounted::small(&directory) else { return };
    house = house.opened().await;
    let id = house.order(79_990_000_111).await;
    let job = house.taken(id).await;
    let filler = directory.join("filler");
    let _ = std::fs::write(&filler, vec![0x5a; 1 << 20]);
    house.accept(job).await;
    house.succeed(job, &format!("{{\"long\":\"{}\"}}", "x".repeat(100_000))).await;
    until("the disk is named", async || {
        house.causes.get(UNAVAILABLE).is_some_and(|what| what.contains("the mailbox's disk is full"))
    })
    .await;
    std::fs::remove_file(&filler).unwrap();
    house.shows(id, "succeeded").await;
    until("all is well", async || house.causes.is_empty()).await;
    let next = house.order(79_990_000_112).await;
    house.taken(next).await;
}
