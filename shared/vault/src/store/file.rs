//! Local files as objects.

use std::path::Path;

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use super::{MAX_PARTS, Multipart, Store, StoreError, StoreResult};

/// Bytes of a part, at least; files of no more go at once.
const PART: u64 = 16 << 20;

impl Store {
    /// Writes a file's content as an object, over what was there. Memory: one part.
    pub(crate) async fn put_file(&self, key: &str, path: &Path) -> StoreResult<()> {
        let failed = |e: std::io::Error| StoreError::from_io("ReadFile", key, &e);
        let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
        let size = file.metadata().await.map_err(failed)?.len();
        if size <= PART {
            let mut body = Vec::new();
            file.read_to_end(&mut body).await.map_err(failed)?;
            self.put(key, body.into()).await?;
            return Ok(());
        }
        let stored = self.stored_size(key, size);
        let part = PART.max(stored.div_ceil(u64::from(MAX_PARTS)).next_multiple_of(1 << 20));
        let upload = self.begin_multipart(key, part, size).await?;
        match send_parts(&upload, key, &mut file).await {
            Ok(()) => upload.finish(size).await,
            Err(error) => {
                if let Err(left) = upload.abort().await {
                    tracing::warn!(error = %left, "parts of a failed upload stay in the store");
                }
                Err(error)
            }
        }
    }
}

async fn send_parts(upload: &Multipart, key: &str, file: &mut tokio::fs::File) -> StoreResult<()> {
    let mut number = 1;
    loop {
        let mut body = Vec::new();
        let read = file.take(upload.part_len(number)).read_to_end(&mut body).await;
        if read.map_err(|e| StoreError::from_io("ReadFile", key, &e))? == 0 {
            return Ok(());
        }
        upload.part(number, Bytes::from(body)).await?;
        number += 1;
    }
}
