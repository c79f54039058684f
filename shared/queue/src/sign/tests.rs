use super::*;

fn ring(text: &str) -> Result<KeyRing, KeyFileError> {
    KeyRing::parse(text, Path::new("keys"))
}

fn key(byte: u8) -> String {
    hex::encode([byte; 32])
}

#[test]
fn the_mac_is_hmac_sha256_of_the_body() {
    // RFC 4231, test case 1.
    let ring = KeyRing::from_secret(vec![0x0b; 20]);
    assert_eq!(
        ring.sign(b"Hi There").mac,
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    );
}

#[test]
fn only_the_signed_bytes_are_accepted() {
    let ring = ring(&key(1)).unwrap();
    let signature = ring.sign(b"body");
    let verify = |body: &[u8], mac: &str| ring.verify(body, Some(&signature.key), Some(mac));
    assert_eq!(verify(b"body", &signature.mac), Ok(()));
    let mismatch = Err(SignatureError::Mismatch { key: signature.key.clone() });
    assert_eq!(verify(b"bodY", &signature.mac), mismatch);
    assert_eq!(verify(b"body", &signature.mac[..62]), mismatch, "a shortened MAC");
    assert_eq!(verify(b"body", "not hex"), mismatch);
    assert_eq!(verify(b"body", ""), mismatch);
}

#[test]
fn an_unsigned_message_and_a_stranger_s_key_are_told_apart() {
    let ours = ring(&key(1)).unwrap();
    let theirs = ring(&key(2)).unwrap().sign(b"body");
    assert!(matches!(ours.verify(b"body", None, None), Err(SignatureError::Unsigned { .. })));
    assert!(matches!(
        ours.verify(b"body", Some(&theirs.key), Some(&theirs.mac)),
        Err(SignatureError::UnknownKey { .. })
    ));
    let claimed = ours.key_ids()[0].to_owned();
    assert!(matches!(
        ours.verify(b"body", Some(&claimed), Some(&theirs.mac)),
        Err(SignatureError::Mismatch { .. })
    ));
}

#[test]
fn keys_rotate_without_a_gap() {
    let old = ring(&key(1)).unwrap();
    let between = ring(&format!("{}\n{}", key(1), key(2))).unwrap();
    let after = ring(&format!("# new first\n{}\n\n{}\n", key(2), key(1))).unwrap();
    for (signer, verifier) in [(&old, &between), (&between, &old), (&after, &between), (&between, &after)] {
        let signature = signer.sign(b"body");
        verifier.verify(b"body", Some(&signature.key), Some(&signature.mac)).unwrap();
    }
}

#[test]
fn a_bad_key_file_is_refused_by_line_and_never_shown() {
    let error = ring(&format!("{}\nsecretsecret", key(1))).unwrap_err().to_string();
    assert!(error.contains("line 2") && !error.contains("secretsecret"), "{error}");
    assert!(ring("abcd").unwrap_err().to_string().contains("fewer than 32 bytes"));
    assert!(matches!(ring("# nothing\n"), Err(KeyFileError::Empty { .. })));
    let shown = format!("{:?}", ring(&key(7)).unwrap());
    assert!(!shown.contains(&key(7)), "{shown}");
}
