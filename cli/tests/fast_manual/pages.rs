//! A page of Markdown as the checks want it: blocks of code, code in the text, links, and the places that links may
//! lead to.

use std::{collections::BTreeSet, fs, path::Path};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use walkdir::WalkDir;

/// A page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// From the repository's folder, with `/`.
    pub(crate) path: String,
    /// Fenced blocks.
    pub(crate) blocks: Vec<Block>,
    /// Code within the text.
    pub(crate) spans: Vec<Piece>,
    /// Where its links and images lead, as written.
    pub(crate) links: Vec<Piece>,
    /// Ids of its headings.
    pub(crate) anchors: BTreeSet<String>,
}

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// `sh`, `toml`, …: the first word after the fence.
    pub(crate) language: String,
    /// Its content.
    pub(crate) piece: Piece,
}

/// Some text and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) text: String,
    /// `page:line`, for people.
    pub(crate) place: String,
}

/// `docs/**/*.md` and `*.md`, in the order of their paths.
pub(crate) fn read_all(root: &Path) -> Vec<Page> {
    let top = WalkDir::new(root).max_depth(1);
    let manual = WalkDir::new(root.join("docs"));
    let files = top.into_iter().chain(manual).map(Result::unwrap);
    let is_page = |path: &Path| path.extension().is_some_and(|extension| extension == "md");
    let paths: BTreeSet<_> = files.map(walkdir::DirEntry::into_path).filter(|path| is_page(path)).collect();
    let read = |path: &std::path::PathBuf| {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        Page::parse(name, &fs::read_to_string(path).unwrap())
    };
    paths.iter().map(read).collect()
}

impl Page {
    /// Reads a page's text; `path` names it.
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let mut page = Self { path: path.to_owned(), ..Self::default() };
        let mut heading: Option<String> = None;
        let mut block: Option<Block> = None;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = text[..range.start].matches('\n').count() + 1;
            let piece = |text: &str| Piece { text: text.to_owned(), place: format!("{path}:{line}") };
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.add_anchor(&heading.take().unwrap_or_default()),
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    let language = info.split_whitespace().next().unwrap_or_default().to_owned();
                    block = Some(Block { language, piece: piece("") });
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(piece(&dest_url));
                }
                Event::Text(text) => {
                    if let Some(block) = &mut block {
                        block.piece.text.push_str(&text);
                    } else if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Code(code) => {
                    page.spans.push(piece(&code));
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    let parts = html.split("src=\"").skip(1);
                    page.links.extend(parts.filter_map(|part| Some(piece(part.split_once('"')?.0))));
                }
                _ => {}
            }
        }
        page
    }

    /// As `mdBook` and GitHub make them; a second heading of the same words gets a number.
    fn add_anchor(&mut self, heading: &str) {
        let keep = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
        let id = heading.trim().to_lowercase().replace(' ', "-");
        let id: String = id.chars().filter(|letter| keep(*letter)).collect();
        let numbered = (1..).map(|number| format!("{id}-{number}"));
        let free = std::iter::once(id.clone()).chain(numbered).find(|id| !self.anchors.contains(id));
        self.anchors.extend(free);
    }
}
