//! A digest of rows that was kept as a file, and is compared with another.

use ringvault_core::{
    api::{Document, RowDigests},
    restore::Renames,
    rows,
};

use super::{JSON, SOME, Target};
use crate::{harness::told, mutate, seeds};

super::targets! {
    digests => Target {
        name: "digests",
        seeds: seeds::texts(&[DIGESTS]),
        mutate: mutate::json,
        base: SOME,
        factor: JSON,
        parse: try_digests,
    };
}

const DIGESTS: &str = r#"{"schema_version":1,"job":"01936e4b-7c00-7000-8000-000000000001","cluster":"orders","selection":{"keyspaces":["shop"]},
    "began_at":"2026-11-22T02:00:00Z","ended_at":"2026-11-22T02:00:09Z","encoding":1,"tables":[
    {"table":"shop.carts","columns":"000000000000000000000000000000ab","ranges":[]},
    {"table":"shop.orders","columns":"000000000000000000000000000000cd","ranges":[
        {"range":0,"rows":18446744073709551615,"digest":"00000000000000000000000000000001"},
        {"range":63,"rows":7,"digest":"00000000000000000000000000000002","expiring":{"cells":2,"seconds":3600000000},
         "elements":{"digest":"00000000000000000000000000000003","expiring":{"cells":18446744073709551615,"seconds":9}}}]}]}"#;

fn try_digests(input: &[u8]) {
    let whole: Document<RowDigests> = serde_json::from_str(DIGESTS).expect("the seed is one");
    let Ok(damaged) = serde_json::from_slice::<Document<RowDigests>>(input) else { return };
    if let Err(why) = damaged.body.check() {
        return told(why);
    }
    let renames = Renames::default();
    for (one, other) in [(&damaged, &whole), (&whole, &damaged), (&damaged, &damaged)] {
        let compared = rows::compare(&one.body.tables, &other.body.tables, &renames, &one.body.selection);
        let compared = compared.expect("no two tables have one name");
        assert!(!std::ptr::eq(one, other) || compared.is_equal());
    }
    for table in &damaged.body.tables {
        let _ = (table.rows(), table.expiring_cells(), table.whole());
    }
}
