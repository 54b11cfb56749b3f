//! What the SDK's calls leave out: headers and query parameters that one call adds.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request, UrlExt as _};

/// What a call adds to its request. It travels in the call's context.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    headers: Vec<(&'static str, String)>,
    query: Vec<(&'static str, String)>,
}

impl Extra {
    /// A header, instead of the SDK's own of that name.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// A query parameter.
    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// The context of a call that adds this.
    pub(crate) fn context(self) -> Context<'static> {
        Context::new().with_value(self)
    }
}

/// Adds it, before anything is signed.
#[derive(Debug)]
pub(crate) struct AddExtra;

#[async_trait]
impl Policy for AddExtra {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        if let Some(extra) = ctx.value::<Extra>() {
            for (name, value) in &extra.headers {
                request.insert_header(*name, value.clone());
            }
            let mut query = request.url_mut().query_builder();
            for (name, value) in &extra.query {
                query.set_pair(*name, value);
            }
            query.build();
        }
        // A policy is never the last: the pipeline ends in its transport.
        next[0].send(ctx, request, &next[1..]).await
    }
}
