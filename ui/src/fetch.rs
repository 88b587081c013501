//! Requests to the API: their state as signals, their errors as sentences, cancelled when nobody waits any more.

use std::sync::Arc;
use std::time::Duration;

use gloo_net::http::{Request, RequestBuilder, Response};
use js_sys::futures::JsFuture;
use js_sys::{Reflect, Uint8Array};
use leptos::prelude::*;
use leptos::task::spawn_local;
use orrery_api::{ErrorBody, Receipt, SqlFormat, SqlRequest, SqlResponse};
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{AbortController, AbortSignal, ReadableStreamDefaultReader};

use crate::partial;
use crate::range::Window;

/// Why an answer did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status; 0 where none came.
    pub status: u16,
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
}

/// An answer on its way. The last one stays while the next is fetched.
pub struct Fetched<T: Send + Sync + 'static> {
    pub data: RwSignal<Option<Arc<T>>>,
    pub failure: RwSignal<Option<Failure>>,
    pub loading: RwSignal<bool>,
    again: RwSignal<u32>,
    controller: StoredValue<Option<AbortController>, LocalStorage>,
}

impl<T: Send + Sync + 'static> Clone for Fetched<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Send + Sync + 'static> Copy for Fetched<T> {}

impl<T: Send + Sync + 'static> Fetched<T> {
    /// Asks once more.
    pub fn retry(&self) {
        self.again.update(|n| *n = n.wrapping_add(1));
    }

    /// Asks once more every so often while the page is there, unless an answer is on its way.
    pub fn retry_every(self, period: Duration) {
        let ask = move || {
            if !self.loading.get_untracked() {
                self.retry();
            }
        };
        let timer = set_interval_with_handle(ask, period).ok();
        on_cleanup(move || {
            if let Some(timer) = timer {
                timer.clear();
            }
        });
    }

    /// Gives the request up; the server stops the query when the connection goes.
    pub fn cancel(&self) {
        abort(self.controller);
        self.loading.set(false);
        if self.data.with_untracked(Option::is_none) {
            self.failure.set(Some(Failure {
                status: 0,
                code: "cancelled".to_owned(),
                message: "Cancelled".to_owned(),
                hint: None,
            }));
        }
    }
}

/// Fetches whatever address the closure gives, again whenever what it reads changes. `None` asks for nothing.
pub fn fetch<T: DeserializeOwned + Send + Sync + 'static>(
    address: impl Fn() -> Option<String> + 'static,
) -> Fetched<T> {
    fetch_by(address, async |address, signal| send::<T>(Request::get(&address).abort_signal(signal.as_ref())).await)
}

/// The same for the answer of a statement of SQL.
pub fn fetch_sql(query: impl Fn() -> Option<String> + 'static) -> Fetched<SqlResponse> {
    fetch_by(query, async |query, signal| sql(&query, None, signal.as_ref()).await)
}

fn fetch_by<T: Send + Sync + 'static>(
    address: impl Fn() -> Option<String> + 'static,
    send: impl AsyncFn(String, Option<AbortSignal>) -> Result<T, Failure> + Copy + 'static,
) -> Fetched<T> {
    let fetched = Fetched {
        data: RwSignal::new(None),
        failure: RwSignal::new(None),
        loading: RwSignal::new(false),
        again: RwSignal::new(0),
        controller: StoredValue::new_local(None),
    };
    let turn = StoredValue::new(0_u64);
    Effect::new(move |_| {
        fetched.again.track();
        let address = address();
        abort(fetched.controller);
        turn.update_value(|n| *n += 1);
        let mine = turn.get_value();
        let Some(address) = address else {
            fetched.data.set(None);
            fetched.loading.set(false);
            return;
        };
        let controller = AbortController::new().ok();
        let signal = controller.as_ref().map(AbortController::signal);
        fetched.controller.set_value(controller);
        fetched.loading.set(true);
        spawn_local(async move {
            let answer = send(address, signal).await;
            // The page may be gone, or a later question asked.
            if turn.try_get_value() != Some(mine) {
                return;
            }
            match answer {
                Ok(data) => {
                    fetched.failure.try_set(None);
                    fetched.data.try_set(Some(Arc::new(data)));
                    fetched.loading.try_set(false);
                }
                Err(failure) if failure.code == "aborted" => {}
                Err(failure) => {
                    fetched.data.try_set(None);
                    fetched.failure.try_set(Some(failure));
                    fetched.loading.try_set(false);
                }
            }
        });
    });
    on_cleanup(move || abort(fetched.controller));
    fetched
}

/// One request whose answer is waited for.
pub async fn get<T: DeserializeOwned>(address: &str) -> Result<T, Failure> {
    send(Request::get(address)).await
}

/// Runs SQL; the signal ends it. `$start` and `$end` stand for the window's ends. An answer that is larger than a browser should hold is cut, and its receipt says so.
pub async fn sql(query: &str, window: Option<Window>, signal: Option<&AbortSignal>) -> Result<SqlResponse, Failure> {
    let response =
        sql_request(query, window, SqlFormat::Json, signal)?.send().await.map_err(|e| unreachable_server(&e))?;
    if !response.ok() {
        return parse(&text_of(Ok(response)).await?);
    }
    let (bytes, whole) = read_some(&response, partial::MOST_BYTES).await.ok_or_else(broken_off)?;
    if whole {
        return parse_bytes(&bytes);
    }
    let receipt = Receipt {
        partial: Some(
            "the first rows only, since the answer is larger than this page holds; save it as CSV, or add a LIMIT"
                .to_owned(),
        ),
        ..Receipt::default()
    };
    let receipt = serde_json::to_string(&receipt).unwrap_or_default();
    parse_bytes(&partial::close(&bytes, &receipt).ok_or_else(broken_off)?)
}

/// Runs SQL for a file to save, however large.
pub async fn sql_file(query: &str, window: Window, format: SqlFormat) -> Result<web_sys::Blob, Failure> {
    let response = sql_request(query, Some(window), format, None)?.send().await.map_err(|e| unreachable_server(&e))?;
    if !response.ok() {
        return Err(refusal(&response).await);
    }
    let blob = web_sys::Response::from(response).blob().map_err(|_| broken_off())?;
    JsFuture::from(blob).await.map(JsCast::unchecked_into).map_err(|_| broken_off())
}

/// The body up to about so many bytes, and whether that is all of it; what is left is given up, which ends the query.
async fn read_some(response: &Response, most: usize) -> Option<(Vec<u8>, bool)> {
    let reader: ReadableStreamDefaultReader = response.body()?.get_reader().unchecked_into();
    let mut bytes = Vec::new();
    while bytes.len() <= most {
        let step: JsValue = JsFuture::from(reader.read()).await.ok()?.into();
        if Reflect::get(&step, &JsValue::from_str("done")).ok()?.is_truthy() {
            return Some((bytes, true));
        }
        let chunk: Uint8Array = Reflect::get(&step, &JsValue::from_str("value")).ok()?.dyn_into().ok()?;
        bytes.extend(chunk.to_vec());
    }
    // The promise only says when the stream is closed.
    let _ = reader.cancel();
    Some((bytes, false))
}

fn sql_request(
    query: &str,
    window: Option<Window>,
    format: SqlFormat,
    signal: Option<&AbortSignal>,
) -> Result<gloo_net::http::Request, Failure> {
    let (start, end) = window.map(|w| (w.start.to_string(), w.end.to_string())).unzip();
    let body = SqlRequest { query: query.to_owned(), format, start, end };
    Request::post("/api/v1/sql").abort_signal(signal).json(&body).map_err(|e| unreachable_server(&e))
}

async fn send<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Failure> {
    let text = text_of(request.send().await).await?;
    parse(&text)
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    parse_bytes(text.as_bytes())
}

fn parse_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure {
        status: 200,
        code: "unreadable".to_owned(),
        message: format!("The server's answer could not be read: {error}"),
        hint: Some("The page may be older than the server: reload it.".to_owned()),
    })
}

async fn text_of(sent: Result<Response, gloo_net::Error>) -> Result<String, Failure> {
    let response = sent.map_err(|e| unreachable_server(&e))?;
    if response.ok() {
        response.text().await.map_err(|e| unreachable_server(&e))
    } else {
        Err(refusal(&response).await)
    }
}

/// What the server says against a request.
async fn refusal(response: &Response) -> Failure {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    match serde_json::from_str::<ErrorBody>(&text) {
        Ok(body) => Failure { status, code: body.error.code, message: body.error.message, hint: body.error.hint },
        Err(_) => Failure {
            status,
            code: "http".to_owned(),
            message: format!("The server answered {status} {}", response.status_text()),
            hint: None,
        },
    }
}

fn broken_off() -> Failure {
    Failure {
        status: 0,
        code: "aborted".to_owned(),
        message: "The answer broke off".to_owned(),
        hint: Some("The query was ended, or the connection lost.".to_owned()),
    }
}

fn unreachable_server(error: &gloo_net::Error) -> Failure {
    let aborted = matches!(error, gloo_net::Error::JsError(js) if js.name == "AbortError");
    Failure {
        status: 0,
        code: if aborted { "aborted" } else { "unreachable" }.to_owned(),
        message: "The server cannot be reached".to_owned(),
        hint: Some("Is Orrery running? The page tries again when you ask it to.".to_owned()),
    }
}

fn abort(controller: StoredValue<Option<AbortController>, LocalStorage>) {
    controller.try_update_value(|held| {
        if let Some(controller) = held.take() {
            controller.abort();
        }
    });
}
