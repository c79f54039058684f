//! What `/metrics` of a scheduler and of a worker have alike: Prometheus's text format ([`Page`]), and the
//! figures of the store that both of them ask ([`store`]).
//!
//! Nothing is measured here. Whoever measures knows nothing of Prometheus, and what a figure is called and
//! means stands where its page is written.

mod page;
mod store;

pub use page::{Kind, Labels, Page};
pub use store::store;

/// How a page is announced in `Content-Type`.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
