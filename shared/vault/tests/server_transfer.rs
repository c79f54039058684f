//! Snapshots to a vault on a real S3 server and back.

#[path = "support/s3.rs"]
mod s3;
mod support;

use std::sync::Arc;

use ringvault_vault::{
    download::StagingFolder,
    upload::{ReuseBase, Uploaded, upload},
};
use support::{Lab, Node, Snapshot, TestIndex, assert_same_files, download_config, wanted};

#[tokio::test]
async fn what_was_brought_comes_back_and_is_not_brought_twice() {
    let lab = s3::lab().await;
    let mut node = Node::with_data();
    let (first, _, snapshot) = lab.upload(&mut node, "b1", ReuseBase::default()).await;
    let first = first.unwrap();
    assert_eq!(first.bytes_new, snapshot.bytes());
    let manifest = lab.manifest(&first).await;
    let staged = lab.local.path().join("staged");
    lab.download(&manifest, &staged, download_config()).await.0.unwrap();
    assert_same_files(&snapshot, &staged);

    let reuse = ReuseBase { own: vec![manifest], ..ReuseBase::default() };
    let (second, context, _) = lab.upload(&mut node, "b2", reuse).await;
    let second = second.unwrap();
    assert_eq!((second.bytes_new, second.objects_new, second.bytes_read), (0, 0, 0));
    assert_eq!(context.progress.figures().bytes_moved, 0);

    let index = Arc::new(TestIndex::of(&lab.manifest(&second).await));
    let reuse = ReuseBase { indexes: vec![index], ..ReuseBase::default() };
    let third = lab.upload(&mut Node::with_data(), "b3", reuse).await.0.unwrap();
    assert_eq!((third.bytes_new, third.objects_new), (0, 0), "another node has the same content");
    s3::clean(&lab).await;
}

#[tokio::test]
async fn damage_in_the_store_is_named() {
    let lab = s3::lab().await;
    let uploaded = lab.upload(&mut Node::with_data(), "b1", ReuseBase::default()).await.0.unwrap();
    let manifest = lab.manifest(&uploaded).await;
    let files = wanted(&manifest, &StagingFolder::new("/s"));
    let large = files.iter().find(|file| file.size == 12 << 20).unwrap();
    let packed = files.iter().find(|file| file.place.pack.is_some() && file.size > 100).unwrap();
    for file in [large, packed] {
        let key = &file.place.key;
        let sound = lab.store.get(key, u64::MAX).await.unwrap();
        for damage in ["flipped", "truncated", "missing"] {
            let mut body = sound.to_vec();
            match damage {
                "flipped" => body[usize::try_from(file.place.offset()).unwrap()] ^= 1,
                "truncated" => body.truncate(usize::try_from(file.place.offset() + file.size - 1).unwrap()),
                _ => body.clear(),
            }
            if damage == "missing" {
                lab.store.delete(key).await.unwrap();
            } else {
                lab.store.put(key, body.into()).await.unwrap();
            }
            let staged = tempfile::tempdir().unwrap();
            let error = lab.download(&manifest, staged.path(), download_config()).await.0.unwrap_err();
            let code = if damage == "missing" { "RV-MISSING" } else { "RV-DIGEST" };
            assert_eq!(error.to_task_error().code, code, "{damage}: {error}");
            assert!(error.to_string().contains(key), "{error}");
        }
        lab.store.put(key, sound).await.unwrap();
    }
    lab.download(&manifest, &lab.local.path().join("staged"), download_config()).await.0.unwrap();
    s3::clean(&lab).await;
}

/// A node with one file of six parts.
fn six_parts() -> Node {
    let mut node = Node::new();
    node.table("ks", "t", 0);
    node.sstable("ks", "t", 0, None, "1", &[("Data.db", SIX_PARTS)]);
    node
}

const PART: usize = 5 << 20;
const SIX_PARTS: usize = 6 * PART - 7;

/// An upload that is stopped once it has sent a part and has not sent all; what it sent, in bytes.
async fn stopped_midway(lab: &Lab, node: &mut Node, epoch: u64) -> u64 {
    let context = lab.context();
    context.throttle.set_rate(Some(1));
    let request = lab.request(lab.header(node, "b1", epoch), Arc::new(node.snapshot()), ReuseBase::default());
    let running = tokio::spawn({
        let context = context.clone();
        async move { upload(&context, request).await }
    });
    // The first part takes the bucket into debt, the second waits.
    while context.progress.figures().bytes_moved == 0 || !context.throttle.is_holding_back() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    context.stop.cancel();
    assert!(running.await.unwrap().unwrap_err().is_stopped());
    context.progress.figures().bytes_moved
}

/// What was brought is what was on the node, and nothing is left open.
async fn comes_back(lab: &Lab, uploaded: &Uploaded, snapshot: &Snapshot) {
    let manifest = lab.manifest(uploaded).await;
    let staged = lab.local.path().join("staged");
    lab.download(&manifest, &staged, download_config()).await.0.unwrap();
    assert_same_files(snapshot, &staged);
    assert_eq!(lab.store.abort_uploads("").await.unwrap(), 0, "nothing is left open");
    s3::clean(lab).await;
}

#[tokio::test]
async fn a_stopped_upload_goes_on_at_the_part_it_was_at() {
    let lab: Lab = s3::lab().await;
    let mut node = six_parts();
    let mut sent = stopped_midway(&lab, &mut node, 1).await;
    sent += stopped_midway(&lab, &mut node, 2).await;
    assert!(sent >= 2 * PART as u64 && sent < SIX_PARTS as u64, "{sent}: each sent some");
    let context = lab.context();
    let snapshot = Arc::new(node.snapshot());
    let request = lab.request(lab.header(&node, "b1", 3), snapshot.clone(), ReuseBase::default());
    let uploaded = upload(&context, request).await.unwrap();
    let figures = context.progress.figures();
    // The manifest's bytes are not among them.
    assert_eq!(sent + figures.bytes_moved, SIX_PARTS as u64, "no part was sent twice");
    assert_eq!((figures.bytes_done, uploaded.objects_new), (SIX_PARTS as u64, 1));
    comes_back(&lab, &uploaded, &snapshot).await;
}

#[tokio::test]
async fn an_upload_that_the_store_has_given_up_begins_anew() {
    let lab: Lab = s3::lab().await;
    let mut node = six_parts();
    stopped_midway(&lab, &mut node, 1).await;
    assert_eq!(lab.store.abort_uploads("").await.unwrap(), 1, "as a bucket's lifecycle rule does");
    let (uploaded, context, snapshot) = lab.upload(&mut node, "b1", ReuseBase::default()).await;
    assert_eq!(context.progress.figures().bytes_moved, SIX_PARTS as u64);
    comes_back(&lab, &uploaded.unwrap(), &snapshot).await;
}

#[tokio::test]
async fn what_is_not_gone_on_with_is_dropped() {
    let lab: Lab = s3::lab().await;
    let mut node = six_parts();
    stopped_midway(&lab, &mut node, 1).await;
    // The file is another by now.
    node.rewrite("ks", "t", "1", "Data.db", b"short");
    lab.upload(&mut node, "b1", ReuseBase::default()).await.0.unwrap();
    assert_eq!(lab.store.abort_uploads("").await.unwrap(), 0);
    s3::clean(&lab).await;
}
