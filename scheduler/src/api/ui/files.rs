//! The dashboard's files, each with its media type.

use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file that is part of the program.
pub(super) struct File {
    pub(super) name: &'static str,
    pub(super) media: &'static str,
    pub(super) content: &'static [u8],
    tag: OnceLock<String>,
}

impl File {
    const fn new(name: &'static str, media: &'static str, content: &'static [u8]) -> Self {
        Self { name, media, content, tag: OnceLock::new() }
    }

    /// An entity tag: a part of its SHA-256.
    pub(super) fn tag(&self) -> &str {
        self.tag.get_or_init(|| format!("\"{}\"", &hex::encode(Sha256::digest(self.content))[..32]))
    }
}

/// The page that every screen is drawn in.
pub(super) static INDEX: File =
    File::new("index.html", "text/html; charset=utf-8", include_bytes!("assets/index.html"));

macro_rules! script {
    ($name:literal) => {
        File::new($name, SCRIPT, include_bytes!(concat!("assets/", $name)))
    };
}

static FILES: [File; 21] = [
    File::new("style.css", "text/css; charset=utf-8", include_bytes!("assets/style.css")),
    File::new("icon.svg", "image/svg+xml", include_bytes!("assets/icon.svg")),
    script!("main.js"),
    script!("api.js"),
    script!("dom.js"),
    script!("words.js"),
    script!("parts.js"),
    script!("table.js"),
    script!("dialog.js"),
    script!("route.js"),
    script!("sign-in.js"),
    script!("fleet.js"),
    script!("cluster.js"),
    script!("calendar.js"),
    script!("backup.js"),
    script!("jobs.js"),
    script!("job.js"),
    script!("plan.js"),
    script!("restore.js"),
    script!("storage.js"),
    script!("evidence.js"),
];

/// A file by its name.
pub(super) fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served_and_every_file_named_is_there() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/ui/assets");
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != INDEX.name)
            .collect();
        let served: BTreeSet<String> = FILES.iter().map(|file| file.name.to_owned()).collect();
        assert_eq!(there, served);
        for file in FILES.iter().chain([&INDEX]) {
            let text = std::str::from_utf8(file.content).unwrap();
            for named in text
                .split(['"', '\''])
                .filter_map(|part| part.strip_prefix("./").or_else(|| part.strip_prefix("/ui/assets/")))
            {
                assert!(find(named).is_some(), "{} names {named}", file.name);
            }
        }
    }

    #[test]
    fn no_file_writes_markup_or_reaches_elsewhere() {
        for file in FILES.iter().chain([&INDEX]) {
            let text = std::str::from_utf8(file.content).unwrap();
            for bad in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "localStorage",
                "sessionStorage",
                "https://",
                "style=\"",
            ] {
                assert!(!text.contains(bad), "{} has {bad}", file.name);
            }
        }
    }
}
