//! Receivers of notices, and whether notices arrive.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use ringvault_core::{
    api::{Document, NoticeView, NotifierView, Page, Role},
    notice::Happening,
};
use ringvault_fault::around;
use ringvault_state::{StateError, notices};
use serde_json::json;
use uuid::Uuid;

use crate::{
    api::{
        ApiState,
        auth::Caller,
        problem::{ApiError, ApiResult},
        route::Route,
    },
    audit,
    config::{NotifierConfig, NotifierKind},
    notify::{Telling, tell_one},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/notifiers", Role::Viewer, list)
            .is("listNotifiers", "Whom this scheduler tells what, and whether it arrives")
            .answers::<Page<NotifierView>>(200),
        Route::post("/v1/notifiers/{notifier}/test", Role::Operator, test)
            .is("testNotifier", "Sends a notice that says it is a test")
            .answers::<Document<NoticeView>>(202),
        Route::get("/v1/notices/{notice}", Role::Viewer, show)
            .is("getNotice", "What became of a notice, by its delivery id")
            .answers::<Document<NoticeView>>(200),
    ]
}

async fn list(State(api): State<ApiState>) -> ApiResult<Json<Page<NotifierView>>> {
    let mut conn = api.conn().await?;
    let mut fares = notices::fares(&mut conn).await?;
    let now = ringvault_state::now(&mut conn).await?;
    drop(conn);
    let view = |(name, config): (&String, &NotifierConfig)| {
        let place = fares.iter().position(|fares| fares.notifier == *name);
        let fares = place.map(|place| fares.swap_remove(place)).unwrap_or_default();
        NotifierView {
            name: name.clone(),
            kind: config.kind.as_str().to_owned(),
            to: address(config),
            filter: config.filter(),
            pending: fares.pending,
            pending_since: fares.pending_since,
            last_sent_at: fares.last_sent_at,
            last_given_up_at: fares.last_given_up_at,
            error: fares.error,
        }
    };
    let items = api.ctx.config.notify.iter().map(view).collect();
    Ok(Json(Page::new(now, items, None)))
}

/// Whom it goes to. Of a URL the host alone: the path of a chat's is its secret.
fn address(config: &NotifierConfig) -> String {
    let host = config.url().ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    match config.kind {
        NotifierKind::Smtp => format!("{} by {host}", config.to.join(", ")),
        NotifierKind::Webhook | NotifierKind::Slack => host,
    }
}

async fn test(
    State(api): State<ApiState>,
    caller: Caller,
    Path(name): Path<String>,
) -> ApiResult<(StatusCode, Json<Document<NoticeView>>)> {
    if !api.ctx.config.notify.contains_key(&name) {
        let detail = format!("there is no [notify.{name}] in the configuration of {}", api.ctx.config.id);
        return Err(ApiError::not_found("RV-NOTIFIER-UNKNOWN", detail).next("ringvault notify list"));
    }
    let by = caller.actor();
    let telling = Telling {
        event: Happening::Test,
        cluster: None,
        job: None,
        title: "a test".to_owned(),
        text: format!("{by} tries whether notices of scheduler {} arrive.", api.ctx.config.id),
        data: None,
    };
    let mut tx = api.ctx.db.begin().await.map_err(StateError::from)?;
    let now = ringvault_state::now(&mut tx).await?;
    let delivery = tell_one(&api.ctx, &mut tx, now, &telling, &name).await?;
    let details = json!({ "delivery": delivery });
    audit::record(&mut tx, &by, "notify.test", None, &format!("notifier {name}"), &details).await?;
    let view = notices::find(&mut tx, delivery).await?.ok_or_else(|| unknown(delivery))?;
    ringvault_state::commit(tx, around!("notices.test")).await?;
    api.ctx.wake.notices.notify_waiters();
    Ok((StatusCode::ACCEPTED, Json(Document::new(view))))
}

async fn show(
    State(api): State<ApiState>,
    Path(text): Path<String>,
) -> ApiResult<Json<Document<NoticeView>>> {
    let notice = Uuid::parse_str(&text)
        .map_err(|_| ApiError::not_found("RV-NOTICE-UNKNOWN", format!("{text:?} is no delivery id")))?;
    let view = notices::find(&mut *api.conn().await?, notice).await?.ok_or_else(|| unknown(notice))?;
    Ok(Json(Document::new(view)))
}

fn unknown(notice: Uuid) -> ApiError {
    ApiError::not_found("RV-NOTICE-UNKNOWN", format!("there is no notice {notice}"))
}
