//! The names of the points, from the sources.

use std::{fs, io, path::Path};

/// The points that a file's text holds: of each `around!` the two, of each `point!` the one.
pub fn names_of(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in text.lines().map(str::trim_start).filter(|line| !line.starts_with("//")) {
        for (word, sides) in [("around!(\"", &[".before", ".after"][..]), ("point!(\"", &[""])] {
            for rest in line.split(word).skip(1) {
                let name = rest.split('"').next().unwrap_or_default();
                names.extend(sides.iter().map(|side| format!("{name}{side}")));
            }
        }
    }
    names
}

/// The points in every Rust file below `folder`, in order of path and place.
pub fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut paths =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    let mut names = Vec::new();
    for path in paths {
        if path.is_dir() {
            names.extend(names_in(&path)?);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            names.extend(names_of(&fs::read_to_string(&path)?));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_code_and_not_from_comments() {
        let text =
            "/// `around!(\"no\")`\n fault::around!(\"a.b\").run(f).await?;\n point!(\"c\").hit().await?;";
        assert_eq!(names_of(text), ["a.b.before", "a.b.after", "c"]);
    }
}
