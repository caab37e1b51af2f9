//! What a package holds: each page that something names is there under that name, and a tarball needs nothing of Debian's.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn text(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Each file of the package with its source; patterns are resolved as the shell does it.
fn files() -> Vec<(PathBuf, PathBuf)> {
    let manifest = text("Cargo.toml").parse::<toml_edit::DocumentMut>().unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let word =
        |asset: &toml_edit::Value, at: usize| asset.as_array().unwrap().get(at).unwrap().as_str().unwrap().to_owned();
    let mut all = Vec::new();
    for asset in assets {
        let (source, to) = (word(asset, 0), word(asset, 1));
        let sources = match source.split_once('*') {
            Some((directory, ending)) if !directory.starts_with("target/") => {
                let entries = fs::read_dir(Path::new(ROOT).join(directory)).unwrap();
                let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
                names.filter(|name| name.ends_with(ending)).map(|name| format!("{directory}{name}")).collect()
            }
            _ => vec![source],
        };
        for source in sources.into_iter().map(PathBuf::from) {
            let place =
                if to.ends_with('/') { Path::new(&to).join(source.file_name().unwrap()) } else { PathBuf::from(&to) };
            all.push((source, place));
        }
    }
    all
}

/// `a/b/../c` → `a/c`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn every_page_that_the_units_and_the_pages_name_is_in_the_package_under_that_name() {
    let files = files();
    let places: BTreeSet<&Path> = files.iter().map(|(_, place)| place.as_path()).collect();
    let mut missing = Vec::new();
    for unit in ["systemd/opros.service", "systemd/opros.socket"] {
        let text = text(unit);
        let named: Vec<&str> =
            text.split_whitespace().filter_map(|word| word.split_once("file:///").map(|(_, path)| path)).collect();
        assert!(!named.is_empty());
        missing.extend(
            named.into_iter().filter(|path| !places.contains(Path::new(path))).map(|path| format!("{unit}: {path}")),
        );
    }
    for (source, place) in files.iter().filter(|(_, place)| place.extension().is_some_and(|ext| ext == "md")) {
        let text = text(source);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '#']).next()) {
            // The licences' texts are Debian's and the file `copyright`: packaging/stage turns these links.
            let elsewhere = link.is_empty() || link.contains("://") || link.starts_with("LICENSE-");
            let target = plain(&place.parent().unwrap().join(link));
            if !elsewhere && !places.contains(target.as_path()) {
                missing.push(format!("{}: {link}", source.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    for named in ["/usr/share/opros/opros.toml", "/usr/share/doc/opros/examples/credentials.conf"] {
        assert!(text("packaging/opros.toml").contains(named) && places.contains(Path::new(&named[1..])), "{named}");
    }
}

#[test]
fn the_packages_configuration_is_a_page_that_changes_nothing() {
    let packaged = text("packaging/opros.toml");
    assert!(packaged.lines().count() <= 15, "who must edit it should see it at one glance");
    let load = |text: &str| opros::config::load(&opros::config::Sources::from_text(text)).unwrap();
    assert_eq!(format!("{:?}", load(&packaged)), format!("{:?}", load("")));
    let uncommented: String = packaged
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.contains(['[', '=']))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(load(&uncommented).accounts.len(), 1, "{uncommented}");
}

/// Whoever calls dpkg is told that there is none.
#[test]
fn a_tarball_is_made_without_dpkg() {
    let dir = tempfile::tempdir().unwrap();
    let script = |path: &Path, text: &str| {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let shims = dir.path().join("shims");
    fs::create_dir(&shims).unwrap();
    for tool in ["dpkg", "dpkg-deb", "dpkg-architecture", "dpkg-query"] {
        script(&shims.join(tool), "#!/bin/sh\nexit 127\n");
    }
    let binary = dir.path().join("opros");
    script(
        &binary,
        "#!/bin/sh\n# GLIBC_2.34\ncase $1 in man) [ -z \"$3\" ] || echo page >\"$3/opros.1\" ;; *) echo x ;; esac\n",
    );
    let path = format!("{}:{}", shims.display(), std::env::var("PATH").unwrap());
    let made = Command::new(Path::new(ROOT).join("packaging/tarball"))
        .arg(&binary)
        .arg("--out")
        .arg(dir.path())
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let tarball = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let listed = Command::new("tar").args(["-tJf", &tarball]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for file in
        ["install.sh", "root/usr/bin/opros", "root/etc/opros/opros.toml", "root/usr/share/doc/opros/docs/operations.md"]
    {
        assert!(listed.lines().any(|line| line.ends_with(file)), "{file}: {listed}");
    }
}
