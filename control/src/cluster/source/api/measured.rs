//! Requests to the API server, counted and timed as CoreDNS's client has it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Request, Response};
use tower::{Layer, Service};

use crate::metrics::own::OWN;

/// CoreDNS's word for a request without a response.
const NO_RESPONSE: &str = "<error>";

/// Counts the requests to one host.
#[derive(Clone)]
pub(super) struct Measure {
    host: Arc<str>,
}

impl Measure {
    pub(super) fn new(host: &str) -> Self {
        Self { host: host.into() }
    }
}

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Measured {
            inner,
            host: Arc::clone(&self.host),
        }
    }
}

/// A client whose requests are counted.
#[derive(Clone)]
pub(super) struct Measured<S> {
    inner: S,
    host: Arc<str>,
}

impl<S, In, Out> Service<Request<In>> for Measured<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let (method, host) = (request.method().clone(), Arc::clone(&self.host));
        let begin = Instant::now();
        let asking = self.inner.call(request);
        Box::pin(async move {
            let result = asking.await;
            let code = match &result {
                Ok(response) => response.status().as_u16().to_string(),
                Err(_) => NO_RESPONSE.to_owned(),
            };
            let method = method.as_str();
            OWN.rest_requests
                .with_label_values(&[&*code, method, &host])
                .inc();
            OWN.rest_duration
                .with_label_values(&[method, &host])
                .observe(begin.elapsed().as_secs_f64());
            result
        })
    }
}
