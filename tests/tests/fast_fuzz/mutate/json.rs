//! By the structure of JSON: fields gone, twice, renamed or of another type, nested deeply, long.

use rand::Rng as _;
use serde_json::Value;

use super::{bytes, cut, growth, once_in, one_of, up_to, words::word};
use crate::random::Random;

/// JSON that need not be good: fields may come twice, and leaves are any text.
#[derive(Clone)]
enum Tree {
    Leaf(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// An input out of `seeds`, which are JSON.
pub(crate) fn json(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    if once_in(random, 10) {
        return bytes::bytes(random, seeds);
    }
    let seed = one_of(random, seeds);
    let Ok(value) = serde_json::from_slice::<Value>(seed) else { return bytes::bytes(random, seeds) };
    let mut tree = Tree::of(value);
    for _ in 0..=up_to(random, 4) {
        let donor =
            if once_in(random, 6) { serde_json::from_slice(one_of(random, seeds)).ok() } else { None };
        change(random, &mut tree, donor.map(Tree::of));
    }
    let mut input = String::new();
    tree.write(&mut input);
    let mut input = input.into_bytes();
    if once_in(random, 8) {
        bytes::change(random, &mut input, seeds);
    }
    cut(input)
}

impl Tree {
    fn of(value: Value) -> Self {
        match value {
            Value::Array(items) => Self::Array(items.into_iter().map(Self::of).collect()),
            Value::Object(fields) => Self::Object(
                fields.into_iter().map(|(name, value)| (quoted(&name), Self::of(value))).collect(),
            ),
            leaf => Self::Leaf(leaf.to_string()),
        }
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Leaf(leaf) => text.push_str(leaf),
            Self::Array(items) => {
                text.push('[');
                for (n, item) in items.iter().enumerate() {
                    text.push_str(if n > 0 { "," } else { "" });
                    item.write(text);
                }
                text.push(']');
            }
            Self::Object(fields) => {
                text.push('{');
                for (n, (name, value)) in fields.iter().enumerate() {
                    text.push_str(if n > 0 { "," } else { "" });
                    text.push_str(name);
                    text.push(':');
                    value.write(text);
                }
                text.push('}');
            }
        }
    }

    /// Itself or something within.
    fn somewhere(&mut self, random: &mut Random) -> &mut Self {
        let within = match self {
            Self::Array(items) => items.len(),
            Self::Object(fields) => fields.len(),
            Self::Leaf(_) => 0,
        };
        if within == 0 || once_in(random, 5) {
            return self;
        }
        let at = random.random_range(0..within);
        match self {
            Self::Array(items) => items[at].somewhere(random),
            Self::Object(fields) => fields[at].1.somewhere(random),
            Self::Leaf(_) => self,
        }
    }
}

fn change(random: &mut Random, tree: &mut Tree, mut donor: Option<Tree>) {
    let new = match &mut donor {
        Some(donor) => donor.somewhere(random).clone(),
        None => odd(random),
    };
    let place = tree.somewhere(random);
    match place {
        Tree::Object(fields) if !fields.is_empty() => {
            let at = random.random_range(0..fields.len());
            match random.random_range(0..6) {
                0 => drop(fields.remove(at)),
                1 => {
                    let twice =
                        (fields[at].0.clone(), if once_in(random, 2) { fields[at].1.clone() } else { new });
                    let to = random.random_range(0..=fields.len());
                    fields.insert(to, twice);
                }
                2 => fields[at].0 = quoted(&word(random)),
                3 => fields.push((quoted(&word(random)), new)),
                4 => {
                    let other = random.random_range(0..fields.len());
                    fields[at].1 = fields[other].1.clone();
                }
                _ => fields[at].1 = new,
            }
        }
        Tree::Array(items) if !items.is_empty() => {
            let at = random.random_range(0..items.len());
            match random.random_range(0..5) {
                0 => drop(items.remove(at)),
                1 => {
                    let copies = vec![items[at].clone(); many(random)];
                    items.splice(at..at, copies);
                }
                2 => items.insert(at, new),
                3 => {
                    let other = random.random_range(0..items.len());
                    items.swap(at, other);
                }
                _ => items[at] = new,
            }
        }
        place => *place = new,
    }
}

/// How many copies of an item there are, and how long a text is.
fn many(random: &mut Random) -> usize {
    let most = growth(random) / 16;
    up_to(random, most)
}

/// A value that nobody asked for.
fn odd(random: &mut Random) -> Tree {
    let many = many(random);
    let text = match random.random_range(0..14) {
        0 => "null".to_owned(),
        1 => "true".to_owned(),
        2 => (*one_of(random, &["0", "-1", "1", "1.5", "-0.0", "1e400", "-1e400", "1e-400"])).to_owned(),
        3 => {
            let numbers = [u64::from(u32::MAX), 1 << 32, i64::MAX as u64, 1 << 63, u64::MAX];
            one_of(random, &numbers).to_string()
        }
        4 => (*one_of(random, &["18446744073709551616", "-9223372036854775809"])).to_owned(),
        5 => "9".repeat(many),
        6 => "[]".to_owned(),
        7 => "{}".to_owned(),
        8 => format!("{}{}", "[".repeat(many), "]".repeat(many)),
        9 => format!("{}0{}", "{\"a\":".repeat(many), "}".repeat(many)),
        10 => format!("[{}0]", "0,".repeat(many)),
        11 => format!("[{}{{}}]", "{\"\":[]},".repeat(many)),
        12 => quoted(&"é".repeat(many)),
        _ => quoted(&word(random)),
    };
    Tree::Leaf(text)
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
