//! `show ID --save DIR`: a job's files onto the disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path};

use super::Session;
use super::client::Client;
use super::exit::Exit;
use super::failure::Failure;
use super::text;
use super::wire::JobFiles;

pub async fn save(session: &mut Session<'_>, job: &str, directory: &Path) -> Result<Exit, Failure> {
    let files: JobFiles = session.client.get(&["v1", "jobs", job, "files"], &[]).await?.read()?;
    if files.files.is_empty() {
        session.term.note("No files came with it.")?;
        return Ok(Exit::Ok);
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| broken("cannot make", directory, &error))?;
    for file in &files.files {
        let path = directory.join(plain(&file.name)?);
        // A person's report is for whoever saves it; a link that lies there is not followed.
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(|error| {
            let why = if error.kind() == io::ErrorKind::AlreadyExists { "will not overwrite" } else { "cannot write" };
            broken(why, &path, &error)
        })?;
        if let Err(failure) = fetch(session.client, &["v1", "jobs", job, "files", &file.name], &path, &mut out).await {
            // Half a report is none; what stays of it would stand in the way of the next try.
            let _ = fs::remove_file(&path);
            return Err(failure);
        }
        session.term.note(format!("saved {}", text::line(&path.display().to_string())))?;
    }
    Ok(Exit::Ok)
}

/// Opros gives plain names; whoever else may answer on the socket gets no path out of this one.
fn plain(name: &str) -> Result<&str, Failure> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(Failure::Broken(format!("opros named a file {:?}, which is no plain name", text::line(name)))),
    }
}

async fn fetch(client: &Client, at: &[&str], path: &Path, out: &mut File) -> Result<(), Failure> {
    let mut response = client.stream(at, &[], "*/*").await?;
    while let Some(piece) = response.chunk().await.map_err(|error| client.failure(error))? {
        out.write_all(&piece).map_err(|error| broken("cannot write", path, &error))?;
    }
    out.sync_all().map_err(|error| broken("cannot write", path, &error))
}

fn broken(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::Broken(format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn only_plain_names_become_files() {
        for name in ["..", ".", "/etc/x", "a/b", "a/", "", "./a"] {
            assert!(plain(name).is_err(), "{name}");
        }
        assert!(plain("Отчёт (2).pdf").is_ok());
    }
}
