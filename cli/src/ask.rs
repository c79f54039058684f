//! Asking before something is changed for good.
//!
//! Two kinds: what destroys data wants the thing's own name, typed or given by `--confirm=NAME`, so
//! that a script or a tired hand cannot mean another one; everything else wants a yes, or `--yes`.
//! Without a terminal nothing is asked: the command is refused and says which option it wants.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::{
    context::Context,
    failure::{Failure, Outcome},
};

/// Wants `name` typed, or given by `--confirm`. `what` completes "This …".
pub(crate) fn confirm(what: &str, name: &str, given: Option<&str>) -> Outcome<()> {
    match given {
        Some(given) if given == name => return Ok(()),
        Some(given) => {
            let message = format!("--confirm={given} does not name {name}: nothing was changed");
            return Err(Failure::refused(message).with_next(format!("add --confirm={name}")));
        }
        None => {}
    }
    let unconfirmed = || {
        Failure::refused(format!("this {what}: it was not confirmed, nothing was changed"))
            .with_next(format!("add --confirm={name}"))
    };
    if !is_interactive() {
        return Err(unconfirmed());
    }
    let answer = prompt(&format!("This {what}.\nType {name} to go on: "))?;
    if answer == name { Ok(()) } else { Err(unconfirmed()) }
}

/// Wants a yes, unless `--yes` was given. `what` completes "This …".
pub(crate) fn agree(context: &Context, what: &str) -> Outcome<()> {
    if context.yes {
        return Ok(());
    }
    let refused = || {
        Failure::refused(format!("this {what}: nobody agreed to that, nothing was changed"))
            .with_next("add --yes")
    };
    if !is_interactive() {
        return Err(refused());
    }
    let answer = prompt(&format!("This {what}. Go on? [y/N] "))?;
    match answer.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(refused()),
    }
}

fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn prompt(question: &str) -> Outcome<String> {
    let mut answer = String::new();
    let mut stderr = std::io::stderr();
    stderr
        .write_all(question.as_bytes())
        .and_then(|()| stderr.flush())
        .and_then(|()| std::io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::refused(format!("reading the answer: {error}")))?;
    Ok(answer.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn another_name_is_no_confirmation() {
        assert!(confirm("empties tables", "orders", Some("orders")).is_ok());
        let failure = confirm("empties tables", "orders", Some("orders2")).unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(failure.next.as_deref(), Some("add --confirm=orders"));
    }
}
