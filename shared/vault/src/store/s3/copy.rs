//! Copies within a bucket: at once up to what S3 allows, in parts above.

use std::fmt::Write as _;

use super::{S3Store, failure, lock, sse};
use crate::store::{MAX_PARTS, StoreResult};

/// Largest object copied by one request, in bytes. S3 allows 5 GiB; less keeps the answer within
/// the time limit on slow stores.
const COPY_AT_ONCE: u64 = 1 << 30;
/// Bytes a part, at least.
const COPY_PART: u64 = 512 << 20;

impl S3Store {
    pub(crate) async fn copy(&self, from: &str, to: &str) -> StoreResult<()> {
        let size = self.head(from).await?.size;
        self.copy_version(from, None, to, size).await
    }

    /// Copies an object of `size` bytes, in this version of it or the newest.
    pub(super) async fn copy_version(
        &self,
        from: &str,
        version: Option<&str>,
        to: &str,
        size: u64,
    ) -> StoreResult<()> {
        let mut source = format!("{}/{}", self.bucket, escape(&self.full(from)));
        if let Some(id) = version {
            // Writing to a String cannot fail.
            let _ = write!(source, "?versionId={}", escape(id));
        }
        if size > COPY_AT_ONCE {
            return self.copy_in_parts(&source, to, size, COPY_PART).await;
        }
        let request = self.client.copy_object().bucket(&*self.bucket).key(self.full(to)).copy_source(source);
        let request = sse::with_source_key!(sse::encrypted!(request, self.sse), self.sse);
        let request = lock::locked!(request, self, to);
        let sent = request.set_storage_class(self.class_of(to)).send().await;
        let done = sent.map_err(|e| failure::classify("CopyObject", from, &e))?;
        let said = sse::said!(done);
        // MinIO encrypts a copy and does not say so in its answer.
        if said.is_silent() {
            return self.must_be_encrypted("CopyObject", to).await;
        }
        self.sse.check("CopyObject", to, &said)
    }

    async fn copy_in_parts(&self, source: &str, to: &str, size: u64, part: u64) -> StoreResult<()> {
        let part = part.max(size.div_ceil(u64::from(MAX_PARTS)));
        let upload = self.begin_copy(to).await?;
        for (number, start) in (1..).zip((0..size).step_by(usize::try_from(part).unwrap_or(usize::MAX))) {
            let last = (start + part).min(size) - 1;
            let sent = upload.part_of(number, source, &format!("bytes={start}-{last}")).await;
            if let Err(error) = sent {
                if let Err(left) = upload.abort().await {
                    tracing::warn!(error = %left, "parts of a failed copy stay in the store");
                }
                return Err(error);
            }
        }
        upload.complete().await?;
        Ok(())
    }
}

/// Percent-encodes a key for the `x-amz-copy-source` header; `/` stays.
fn escape(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_are_escaped_for_the_header() {
        assert_eq!(super::escape("a/b-c_d.e~f"), "a/b-c_d.e~f");
        assert_eq!(super::escape("a b+é"), "a%20b%2B%C3%A9");
    }
}
