//! Command lines of the manual: in `sh`, `bash` and `console` blocks, and in the text, where code begins with a program
//! of ours. Others' programs are passed over.
//!
//! `ringvault …` is parsed by the program itself, in full: it is also told a time zone that there is not, which it finds
//! when the command line was taken and before it does anything. Words in capitals stand for a value; where its form
//! matters it is put in. Of `dev/…`, `deploy/…` and `bench/…` the file must be there, and know the options.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::pages::{Page, Piece};

/// A zone that no command line names.
const NOWHERE: &str = "Nowhere/Nowhere";
/// What the words that stand for a value of some form are replaced by.
const VALUES: &[(&str, &str)] =
    &[("TIME", "2026-11-25T02:00:00Z"), ("HOST_ID", "00000000-0000-0000-0000-000000000001")];
/// Scripts whose `--help` says all options, the first of them by subcommand. The others' text does.
const WITH_HELP: &[&str] = &["dev/lab", "dev/demo", "deploy/check"];

/// One command, split into words.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) words: Vec<String>,
    pub(crate) place: String,
    /// In the text: what must be given may be left out, and `…` stands for the rest.
    pub(crate) is_prose: bool,
}

/// The commands of a page that are ours.
pub(crate) fn of(page: &Page) -> Vec<Line> {
    let shell = page.blocks.iter().filter(|block| matches!(block.language.as_str(), "sh" | "bash"));
    let console = page.blocks.iter().filter(|block| block.language == "console");
    let typed = console.map(|block| {
        let lines = block.piece.text.lines().filter_map(|line| line.strip_prefix("$ "));
        Piece { text: lines.collect::<Vec<_>>().join("\n"), place: block.piece.place.clone() }
    });
    let blocks = shell.map(|block| block.piece.clone()).chain(typed);
    let mut found: Vec<Line> = blocks.flat_map(|piece| split(&piece, false)).collect();
    found.extend(page.spans.iter().flat_map(|piece| split(piece, true)));
    found.retain(|line| is_ours(&line.words[0]));
    found
}

fn is_ours(program: &str) -> bool {
    let script = ["dev/", "deploy/", "bench/"].iter().any(|folder| program.starts_with(folder));
    script || matches!(program, "ringvault" | "ringvault-scheduler" | "ringvault-worker")
}

/// Lines, parts of a pipe, and what is substituted (`"$(dev/lab env)"`), each without what runs it elsewhere.
fn split(piece: &Piece, is_prose: bool) -> Vec<Line> {
    let mut found = Vec::new();
    for text in piece.text.replace("\\\n", " ").lines() {
        for part in words(text).split(|word| matches!(word.as_str(), "|" | "||" | "&&" | ";" | "&")) {
            for word in part {
                let inner = word.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')'));
                let inner = inner.map(|text| Piece { text: text.to_owned(), place: piece.place.clone() });
                found.extend(inner.iter().flat_map(|piece| split(piece, is_prose)));
            }
            let ours = part.iter().take_while(|word| !word.starts_with(['>', '<']));
            let words: Vec<String> = inside(ours.cloned().collect());
            if !words.is_empty() {
                found.push(Line { words, place: piece.place.clone(), is_prose });
            }
        }
    }
    found
}

/// As a shell splits a line, without what it would put in for variables: quotes, `\`, and comments.
fn words(text: &str) -> Vec<String> {
    let (mut found, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '#') if word.is_none() => break,
            (None, letter) if letter.is_whitespace() => found.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), letter) if open == letter => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(letters.next()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    found.extend(word);
    found
}

/// What is run in the container, pod or environment.
fn inside(mut words: Vec<String>) -> Vec<String> {
    let is_variable = |word: &String| word.split_once('=').is_some_and(|(name, _)| !name.starts_with('-'));
    words = words.into_iter().skip_while(is_variable).collect();
    let at = |index: usize| words.get(index).map_or("", String::as_str);
    let skip = match (at(0), at(1), at(2)) {
        ("sudo", ..) => 1,
        ("docker", "compose", "exec") => {
            words.iter().skip(3).take_while(|word| word.starts_with('-')).count() + 4
        }
        ("kubectl", "exec", _) => words.iter().position(|word| word == "--").map_or(0, |place| place + 1),
        _ => 0,
    };
    words.split_off(skip.min(words.len()))
}

/// What is wrong with them, each line once.
pub(crate) fn faults(root: &Path, lines: &[Line]) -> Vec<String> {
    let mut told: BTreeMap<(&[String], bool), Option<String>> = BTreeMap::new();
    let mut faults = Vec::new();
    for line in lines {
        let fault = told.entry((&line.words, line.is_prose)).or_insert_with(|| fault(root, line));
        faults
            .extend(fault.as_ref().map(|fault| format!("{}: {}: {fault}", line.place, line.words.join(" "))));
    }
    faults
}

fn fault(root: &Path, line: &Line) -> Option<String> {
    let (program, arguments) = line.words.split_first()?;
    let whole = arguments.iter().take_while(|word| !(line.is_prose && word.contains('…')));
    let arguments: Vec<String> = whole.map(|word| with_values(word)).collect();
    match program.as_str() {
        "ringvault" => {
            let refusal = refusal(&arguments)?;
            let short = ["required arguments were not provided", "requires a subcommand", "Usage: "];
            let is_short = short.iter().any(|words| refusal.contains(words));
            (!(line.is_prose && is_short)).then_some(refusal)
        }
        "ringvault-scheduler" => unknown_option(&arguments, &read(root, "scheduler/src/main.rs"), true),
        "ringvault-worker" => unknown_option(&arguments, &read(root, "worker/src/main.rs"), true),
        script => script_fault(root, script, &arguments),
    }
}

/// A word in capitals that stands for a value of some form, alone or after `=`.
fn with_values(word: &str) -> String {
    let (option, value) = word.split_once('=').map_or(("", word), |(option, value)| (option, value));
    let known = VALUES.iter().find(|(name, _)| *name == value);
    match known {
        Some((_, value)) if option.is_empty() => (*value).to_owned(),
        Some((_, value)) => format!("{option}={value}"),
        None => word.to_owned(),
    }
}

/// What the program says to such a command line; `None` if it takes it.
fn refusal(arguments: &[String]) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_ringvault"))
        .args(["--tz", NOWHERE])
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Help and the version are answered at once.
    (!output.status.success() && !said.contains(NOWHERE)).then_some(said)
}

fn read(root: &Path, file: &str) -> String {
    fs::read_to_string(root.join(file)).unwrap_or_default()
}

/// The first option that `text` does not have: as written, or as the field of a program's arguments.
fn unknown_option(arguments: &[String], text: &str, is_source: bool) -> Option<String> {
    let options = arguments.iter().take_while(|word| *word != "--").filter(|word| word.starts_with("--"));
    let mut names = options.map(|word| word.split('=').next().unwrap_or_default());
    let has = |name: &str| {
        let field = format!("    {}: ", name.trim_start_matches("--").replace('-', "_"));
        let mut words = text.split(|letter: char| !(letter.is_alphanumeric() || letter == '-'));
        if is_source { name == "--version" || text.contains(&field) } else { words.any(|word| word == name) }
    };
    names.find(|name| !has(name)).map(|name| format!("it has no {name}"))
}

/// Whether a file of the repository is there, can be run where it is given arguments, and knows its options.
fn script_fault(root: &Path, script: &str, arguments: &[String]) -> Option<String> {
    let path = root.join(script);
    // What a script writes is no file of the repository.
    if read(root, ".gitignore").lines().any(|line| line.strip_prefix('/') == Some(script)) {
        return None;
    }
    let Ok(found) = fs::metadata(&path) else { return Some("there is no such file".to_owned()) };
    if found.is_dir() || arguments.is_empty() {
        return None;
    }
    if found.permissions().mode() & 0o111 == 0 {
        return Some("it cannot be run".to_owned());
    }
    if !WITH_HELP.contains(&script) {
        return unknown_option(arguments, &read(root, script), false);
    }
    let subcommand = arguments.first().filter(|word| script == "dev/lab" && !word.starts_with('-'));
    let help = Command::new(&path).args(subcommand).arg("--help").stdin(Stdio::null()).output().unwrap();
    if !help.status.success() {
        return Some(String::from_utf8_lossy(&help.stderr).into_owned());
    }
    unknown_option(arguments, &String::from_utf8_lossy(&help.stdout), false)
}

#[test]
fn a_wrong_command_is_found() {
    let page = |text: &str| {
        let lines = of(&Page::parse("p.md", text));
        (lines.len(), faults(&crate::root(), &lines))
    };
    for (text, says) in [
        ("```sh\nringvault backup create --clstr c\n```", "--clstr"),
        ("```sh\nringvault backup create\n```", "--cluster"),
        ("```console\n$ ringvault frobnicate\nringvault is not typed here\n```", "frobnicate"),
        ("1. x\n   ```sh\n   FOO=1 docker compose exec -T sched-1 ringvault job lst\n   ```", "lst"),
        ("```sh\necho x | ringvault policy apply - --purne\n```", "--purne"),
        ("```sh\nringvault restore run --from b --to c \\\n    --methd copy\n```", "--methd"),
        ("text `ringvault verify run --levle digest`", "--levle"),
        ("text `ringvault job retyr JOB`", "retyr"),
        ("```sh\ndev/lib up\n```", "no such file"),
        ("```sh\neval \"$(dev/lab evn)\"\n```", "evn"),
        ("```sh\ndev/lab up --nods 3\n```", "--nods"),
        ("```sh\ndev/fuzz --sec 3\n```", "--sec"),
        ("`dev/lab/x`", "no such file"),
        ("```sh\nringvault-worker --confg x\n```", "--confg"),
    ] {
        let (count, faults) = page(text);
        assert_eq!((count, faults.len()), (1, 1), "{text}: {faults:?}");
        assert!(faults[0].contains(says) && faults[0].starts_with("p.md:"), "{text}: {faults:?}");
    }
    for text in [
        "```sh\nringvault job retry JOB --wait   # what failed\n```",
        "```sh\nkubectl exec deploy/x -- ringvault status --json\n```",
        "```sh\nringvault cluster topology c --at TIME && dev/lab down --purge\n```",
        "`ringvault restore plan …`, `ringvault key`",
        "`ringvault-scheduler --probe live|ready`",
        "```toml\nringvault = 1\n```",
    ] {
        let (_, faults) = page(text);
        assert!(faults.is_empty(), "{text}: {faults:?}");
    }
}
