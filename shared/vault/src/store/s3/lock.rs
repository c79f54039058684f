//! Object Lock: whether the bucket has it.

use aws_sdk_s3::types::{DefaultRetention, ObjectLockEnabled};

use super::{S3Store, failure};
use crate::store::{LockState, StoreErrorKind, StoreResult};

impl S3Store {
    pub(crate) async fn lock_state(&self) -> StoreResult<LockState> {
        let operation = "GetObjectLockConfiguration";
        let sent = self.client.get_object_lock_configuration().bucket(&*self.bucket).send().await;
        let configuration = match sent.map_err(|e| failure::classify(operation, "", &e)) {
            Ok(answer) => answer.object_lock_configuration,
            // "ObjectLockConfigurationNotFoundError": the bucket is there and has none.
            Err(error) if matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::Unsupported) => {
                None
            }
            Err(error) => return Err(error),
        };
        let Some(configuration) = configuration else { return Ok(LockState::Off) };
        if configuration.object_lock_enabled != Some(ObjectLockEnabled::Enabled) {
            return Ok(LockState::Off);
        }
        let rule = configuration.rule.and_then(|rule| rule.default_retention);
        Ok(LockState::On { by_default: rule.as_ref().and_then(words_of) })
    }
}

fn words_of(rule: &DefaultRetention) -> Option<String> {
    let mode = rule.mode.as_ref()?.as_str();
    match (rule.days, rule.years) {
        (Some(days), _) => Some(format!("{mode} for {days} days")),
        (None, Some(years)) => Some(format!("{mode} for {years} years")),
        (None, None) => None,
    }
}
