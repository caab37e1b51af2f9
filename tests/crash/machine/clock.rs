//! A clock that is set under the daemon, by libfaketime. Waits go on by true time, as on a machine whose clock is set.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::life::Trouble;
use crate::campaign::Dice;
use crate::world::{Failure, nap};

/// What libfaketime is told: days to and fro, and a clock that runs too fast.
const CLOCKS: [&str; 7] = ["+1000d", "-1000d", "+1h", "-1h", "+3d", "+0 x100", "+0d"];

#[derive(Debug, Clone)]
pub struct Setting {
    pub after: Duration,
    pub clock: &'static str,
}

fn library() -> Option<PathBuf> {
    let hosts = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let places = hosts.chain(["/usr/lib".into(), "/usr/local/lib".into()]);
    places.map(|place| place.join("faketime/libfaketimeMT.so.1")).find(|file| file.exists())
}

pub fn missing() -> Option<String> {
    library().is_none().then(|| "libfaketime is not installed (apt-get install faketime)".to_owned())
}

pub fn draw(dice: &mut Dice) -> Trouble {
    let count = 1 + dice.below(4);
    let setting = |_| Setting {
        after: Duration::from_millis(dice.below(900)),
        clock: CLOCKS[dice.below(CLOCKS.len() as u64) as usize],
    };
    Trouble::Clock((0..count).map(setting).collect())
}

/// The daemon with a clock that is read from a file.
pub fn fake(mut command: Command, file: &Path) -> Result<Command, Failure> {
    let library = library().ok_or("libfaketime is gone")?;
    std::fs::write(file, "+0d\n")?;
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", file).env("FAKETIME_NO_CACHE", "1");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    Ok(command)
}

/// Sets it as told; says how often.
pub async fn set(settings: &[Setting], file: &Path) -> Result<usize, Failure> {
    for setting in settings {
        nap(setting.after.as_millis() as u64).await;
        let new = file.with_extension("new");
        std::fs::write(&new, format!("{}\n", setting.clock))?;
        std::fs::rename(&new, file)?;
    }
    Ok(settings.len())
}

pub fn name(settings: &[Setting]) -> String {
    settings.iter().map(|setting| setting.clock).collect::<Vec<_>>().join(" then ")
}
