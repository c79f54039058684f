//! Links between pages and into the repository: the file is there, the heading too, and every page is in the book's list.
//! What lies on other machines is not asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use crate::pages::Page;

/// The book's list of pages.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Links that lead nowhere.
pub(crate) fn faults(root: &Path, pages: &[Page]) -> Vec<String> {
    let anchors: BTreeMap<&str, &BTreeSet<String>> =
        pages.iter().map(|page| (page.path.as_str(), &page.anchors)).collect();
    let mut faults = Vec::new();
    for page in pages {
        for link in page.links.iter().filter(|link| !is_elsewhere(&link.text)) {
            let (file, anchor) = link.text.split_once('#').unwrap_or((&link.text, ""));
            let target = target(page, file);
            let fault = |why: &str| format!("{}: ({}): {why}", link.place, link.text);
            if !file.is_empty() && !root.join(&target).exists() {
                faults.push(fault("there is no such file"));
            } else if !anchor.is_empty() && anchors.get(&*target).is_none_or(|there| !there.contains(anchor))
            {
                faults.push(fault("there is no such heading"));
            }
        }
    }
    faults
}

fn is_elsewhere(link: &str) -> bool {
    ["http://", "https://", "mailto:"].iter().any(|scheme| link.starts_with(scheme))
}

/// From the repository's folder, with `..` resolved.
fn target(page: &Page, file: &str) -> String {
    if file.is_empty() {
        return page.path.clone();
    }
    let mut path = PathBuf::new();
    for part in Path::new(&page.path).parent().unwrap_or(Path::new("")).join(file).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path.to_string_lossy().into_owned()
}

/// Pages of the manual that its list does not have, and pages that it has twice.
pub(crate) fn orphans(pages: &[Page]) -> Vec<String> {
    let Some(summary) = pages.iter().find(|page| page.path == SUMMARY) else {
        return vec![format!("there is no {SUMMARY}")];
    };
    let listed: Vec<String> = summary.links.iter().map(|link| target(summary, &link.text)).collect();
    let manual = pages.iter().filter(|page| page.path.starts_with("docs/") && page.path != SUMMARY);
    let times = manual.map(|page| (&page.path, listed.iter().filter(|path| **path == page.path).count()));
    times
        .filter(|(_, times)| *times != 1)
        .map(|(path, times)| format!("{path} is {times} times in it"))
        .collect()
}

#[test]
fn a_link_that_leads_nowhere_and_a_page_that_is_not_listed_are_found() {
    let page = |path: &str, text: &str| Page::parse(path, text);
    let root = crate::root();
    let other = || page("docs/stores.md", "# Stores\n## It's `S3`, twice\n## It's `S3`, twice\n");
    for (text, says) in [
        ("[x](nowhere.md)", Some("no such file")),
        ("[x](stores.md#its-s4)", Some("no such heading")),
        ("[x](#here)", Some("no such heading")),
        ("![x](dashboard/none.png)", Some("no such file")),
        ("<img src=\"dashboard/none.png\" alt=\"x\">", Some("no such file")),
        (
            "# Here\n[x](#here) [y](stores.md#its-s3-twice-1) [z](../README.md) [u](https://nowhere.example)",
            None,
        ),
    ] {
        let found = faults(&root, &[page("docs/p.md", text), other()]);
        match says {
            Some(says) => assert!(found.len() == 1 && found[0].contains(says), "{text}: {found:?}"),
            None => assert!(found.is_empty(), "{text}: {found:?}"),
        }
    }
    let list = |text: &str| orphans(&[page(SUMMARY, text), other(), page("README.md", "")]);
    assert!(list("- [Stores](stores.md)").is_empty());
    assert_eq!(list("- [x](x.md)").len(), 1);
    assert_eq!(list("- [Stores](stores.md)\n- [Again](stores.md)").len(), 1);
}
