//! Bodies and listings.
//!
//! A body whose connection breaks is asked for again from the byte where it broke, under the
//! condition that the object is still the same; the SDK's own retries end where the body begins.

use std::ops::Range;

use aws_sdk_s3::primitives::{ByteStream as SdkBody, DateTime as SdkTime};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;

use super::{S3Store, failure, sse};
use crate::store::{ByteStream, ObjectInfo, ObjectStream, StoreError, StoreErrorKind, StoreResult};

/// Times in a row that a body may break without one byte having come.
const RESUMES: u32 = 4;

pub(super) fn time(time: &SdkTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

struct Body {
    store: S3Store,
    key: String,
    /// The version that is read, if it is not the newest.
    version: Option<String>,
    /// The next byte.
    at: u64,
    /// The byte after the last one wanted.
    end: Option<u64>,
    etag: Option<String>,
    stream: SdkBody,
    broken: u32,
}

impl S3Store {
    pub(crate) async fn get_stream(&self, key: &str, range: Option<Range<u64>>) -> StoreResult<ByteStream> {
        let at = range.as_ref().map_or(0, |r| r.start);
        let end = range.map(|r| r.end);
        let version = match self.as_of {
            Some(instant) => Some(self.version_at(key, instant).await?.ok_or_else(|| {
                let detail = format!("not there at {instant}");
                StoreError::new(StoreErrorKind::NotFound, "GetObject", key, detail)
            })?),
            None => None,
        };
        let version = version.map(|version| version.id);
        let (stream, etag, length) = self.begin_get((key, version.as_deref()), at, end, None).await?;
        // Where the body ends is known from its begin, so that a break behind its last byte is none.
        let end = length.map(|length| at + length).or(end);
        let body =
            Body { store: self.clone(), key: key.to_owned(), version, at, end, etag, stream, broken: 0 };
        Ok(futures::stream::try_unfold(body, Body::step).boxed())
    }

    async fn begin_get(
        &self,
        (key, version): (&str, Option<&str>),
        at: u64,
        end: Option<u64>,
        same: Option<&str>,
    ) -> StoreResult<(SdkBody, Option<String>, Option<u64>)> {
        let request = self.client.get_object().bucket(&*self.bucket).key(self.full(key));
        let request = request.set_version_id(version.map(str::to_owned));
        let request = sse::with_key!(request, self.sse).set_if_match(same.map(str::to_owned));
        let mut range = None;
        if at > 0 || end.is_some() {
            let last = end.map(|e| e.saturating_sub(1).to_string()).unwrap_or_default();
            range = Some(format!("bytes={at}-{last}"));
        }
        let ranged = range.is_some();
        let answer =
            request.set_range(range).send().await.map_err(|e| failure::classify("GetObject", key, &e))?;
        if ranged && answer.content_range.is_none() {
            let detail = "the store ignores ranges";
            return Err(StoreError::new(StoreErrorKind::Other, "GetObject", key, detail));
        }
        let length = answer.content_length.and_then(|length| u64::try_from(length).ok());
        Ok((answer.body, answer.e_tag, length))
    }

    pub(crate) fn list(&self, folder: &str) -> ObjectStream {
        if let Some(at) = self.as_of {
            return self.list_at(folder, at);
        }
        let pages = self
            .client
            .list_objects_v2()
            .bucket(&*self.bucket)
            .prefix(self.full(folder))
            .into_paginator()
            .send();
        let (store, folder) = (self.clone(), folder.to_owned());
        let state = (store, folder, pages, Vec::new().into_iter());
        futures::stream::try_unfold(state, |(store, folder, mut pages, mut objects)| async move {
            loop {
                if let Some(object) = objects.next() {
                    return Ok(Some((object, (store, folder, pages, objects))));
                }
                let Some(page) = pages.next().await else { return Ok(None) };
                let page = page.map_err(|e| failure::classify("ListObjectsV2", &folder, &e))?;
                objects = store.infos(page.contents.unwrap_or_default()).into_iter();
            }
        })
        .boxed()
    }

    fn infos(&self, objects: Vec<aws_sdk_s3::types::Object>) -> Vec<ObjectInfo> {
        let info = |object: aws_sdk_s3::types::Object| {
            let key = object.key()?.strip_prefix(&*self.prefix)?.to_owned();
            // Some tools put empty objects that stand for folders; they are none of ours.
            if key.ends_with('/') || key.is_empty() {
                return None;
            }
            let size = object.size().and_then(|n| u64::try_from(n).ok())?;
            let modified = object.last_modified().and_then(time);
            Some(ObjectInfo { key, size, modified, etag: object.e_tag })
        };
        objects.into_iter().filter_map(info).collect()
    }

    pub(crate) async fn list_folders(&self, folder: &str) -> StoreResult<Vec<String>> {
        if self.as_of.is_some() {
            return self.folders_ever(folder).await;
        }
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&*self.bucket)
            .prefix(self.full(folder))
            .delimiter("/")
            .into_paginator()
            .send();
        let mut folders = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| failure::classify("ListObjectsV2", folder, &e))?;
            for common in page.common_prefixes() {
                let name = common.prefix().and_then(|p| p.strip_prefix(&*self.prefix));
                folders.extend(name.map(str::to_owned));
            }
        }
        Ok(folders)
    }
}

impl Body {
    async fn step(mut self) -> StoreResult<Option<(Bytes, Self)>> {
        loop {
            match self.stream.next().await {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    self.at += piece.len() as u64;
                    self.broken = 0;
                    return Ok(Some((piece, self)));
                }
                Some(Err(error)) => {
                    let why = words_of(&error);
                    // A checksum is compared at the end of a body: asking again brings the same.
                    if why.contains("checksum mismatch") {
                        let kind = StoreErrorKind::Integrity;
                        return Err(StoreError::new(kind, "GetObject", &self.key, why));
                    }
                    if self.end.is_some_and(|end| self.at >= end) {
                        return Ok(None);
                    }
                    self.resume(&why).await?;
                }
                None => return Ok(None),
            }
        }
    }

    async fn resume(&mut self, why: &str) -> StoreResult<()> {
        self.broken += 1;
        if self.broken > RESUMES {
            let detail = format!("the body broke at byte {}, again and again: {why}", self.at);
            return Err(StoreError::new(StoreErrorKind::Unreachable, "GetObject", &self.key, detail));
        }
        tracing::debug!(key = %self.key, at = self.at, why, "a body broke, taking it up again");
        tokio::time::sleep(std::time::Duration::from_millis(100 << self.broken)).await;
        let what = (self.key.as_str(), self.version.as_deref());
        let begun = self.store.begin_get(what, self.at, self.end, self.etag.as_deref()).await;
        match begun {
            Ok((stream, _, _)) => {
                self.stream = stream;
                Ok(())
            }
            Err(error) if error.kind == StoreErrorKind::AlreadyExists => {
                let detail = "it was written over while it was read";
                Err(StoreError::new(StoreErrorKind::Integrity, "GetObject", &self.key, detail))
            }
            Err(error) => Err(error),
        }
    }
}

/// An error with what caused it, which the SDK keeps apart.
fn words_of(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
