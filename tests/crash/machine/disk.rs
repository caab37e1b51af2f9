//! An ext4 of its own in a file in memory, whose power can be cut.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::world::{Failure, nap};

/// EXT4_IOC_SHUTDOWN with NOLOGFLUSH: neither data nor the journal's tail reach the disk any more. Perl is on every Debian,
/// and an ioctl is `unsafe` in Rust.
const SHUTDOWN: &str = r#"open(my $dir, '<', $ARGV[0]) or die "open: $!"; my $how = pack('L', 2); ioctl($dir, 0x8004587d, $how) or die "ioctl: $!";"#;
const SIZE: u64 = 64 << 20;

#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

/// Why there can be none here.
pub async fn missing() -> Option<String> {
    let tried = async {
        let dir = tempfile::tempdir()?;
        let disk = Disk::new(&dir.path().join("disk")).await?;
        disk.cut().await?;
        disk.unmount().await
    };
    let words = "an ext4 cannot be mounted and cut off here (root, a loop device, perl)";
    tried.await.err().map(|error: Failure| format!("{words}: {error}"))
}

impl Disk {
    pub async fn new(mounted: &Path) -> Result<Disk, Failure> {
        let disk = Disk { image: mounted.with_extension("img"), mounted: mounted.to_owned() };
        std::fs::create_dir(mounted)?;
        std::fs::File::create(&disk.image)?.set_len(SIZE)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk.image)).await?;
        disk.mount().await?;
        Ok(disk)
    }

    pub fn directory(&self) -> &Path {
        &self.mounted
    }

    async fn mount(&self) -> Result<(), Failure> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mounted)).await
    }

    async fn unmount(&self) -> Result<(), Failure> {
        run(Command::new("umount").arg(&self.mounted)).await
    }

    pub async fn cut(&self) -> Result<(), Failure> {
        run(Command::new("perl").args(["-e", SHUTDOWN]).arg(&self.mounted)).await
    }

    /// The power is back: what the disk had is read, its journal first. A file that was being closed is waited for. What is
    /// mounted is a copy: should anybody else hold the cut disk still (a container took it over), it stays cut there.
    pub async fn again(&self) -> Result<(), Failure> {
        for _ in 0..200 {
            if self.unmount().await.is_ok() {
                break;
            }
            nap(25).await;
        }
        let copy = self.image.with_extension("copy");
        run(Command::new("cp").arg("--sparse=always").arg(&self.image).arg(&copy)).await?;
        std::fs::rename(copy, &self.image)?;
        self.mount().await
    }

    pub async fn copy_out(&self, to: &Path) {
        let _ = run(Command::new("cp").arg("-r").arg(&self.mounted).arg(to)).await;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the world's directory is removed next, whoever still has a file open.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.mounted).output();
        let _ = std::fs::remove_file(&self.image);
    }
}

/// Never on the runtime's own threads: the vendors of other worlds are played on them.
async fn run(command: &mut Command) -> Result<(), Failure> {
    let program = command.as_std().get_program().to_owned();
    let output = command.output().await.map_err(|error| format!("{program:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program:?}: {}", words.trim()).into())
}
