//! What every page shares: the address, the window and the scope that it says, the theme, the way to go elsewhere.
//! Never holds what a page fetched.

use std::rc::Rc;

use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_location, use_navigate};

use crate::address::Query;
use crate::filter;
use crate::range::{self, TimeRange, Window};

/// The parameters that a link to another page keeps.
pub const KEPT: [&str; 5] = ["start", "end", "env", "ns", "live"];

type Navigate = Rc<dyn Fn(&str, NavigateOptions)>;

#[derive(Clone, Copy)]
pub struct Context {
    pub path: Memo<String>,
    pub query: Memo<Query>,
    pub range: Memo<TimeRange>,
    /// The range, settled when it was chosen or last refreshed: every panel of a page asks for the same one.
    pub window: Memo<Window>,
    pub environment: Memo<Option<String>>,
    pub namespace: Memo<Option<String>>,
    pub live: Memo<bool>,
    pub theme: RwSignal<Theme>,
    /// Whether the palette is open.
    pub palette: RwSignal<bool>,
    refreshes: RwSignal<u32>,
    navigate: StoredValue<Navigate, LocalStorage>,
}

/// A chosen theme; the system's until one is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    System,
    Dark,
    Light,
}

impl Theme {
    pub fn word(self) -> &'static str {
        match self {
            Theme::System => "system",
            Theme::Dark => "dark",
            Theme::Light => "light",
        }
    }
}

/// Nanoseconds since the Unix epoch, by the browser's clock. The one place that reads it.
pub fn now() -> i64 {
    (js_sys::Date::now() * 1_000.0) as i64 * 1_000
}

/// Makes the context from the router's location; once, inside `Router`.
pub fn provide() -> Context {
    let location = use_location();
    let navigate = use_navigate();
    let search = location.search;
    let query = Memo::new(move |_| Query::parse(&search.get()));
    let refreshes = RwSignal::new(0);
    let range = Memo::new(move |_| {
        query.with(|q| TimeRange::from_params(q.get("start"), q.get("end"))).unwrap_or(range::DEFAULT)
    });
    let window = Memo::new(move |_| {
        refreshes.track();
        range.get().at(now())
    });
    let context = Context {
        path: location.pathname,
        query,
        range,
        window,
        environment: Memo::new(move |_| query.with(|q| q.get("env").map(str::to_owned))),
        namespace: Memo::new(move |_| query.with(|q| q.get("ns").map(str::to_owned))),
        live: Memo::new(move |_| query.with(|q| q.get("live").is_some())),
        theme: RwSignal::new(stored_theme()),
        palette: RwSignal::new(false),
        refreshes,
        navigate: StoredValue::new_local(Rc::new(move |to: &str, options| navigate(to, options))),
    };
    provide_context(context);
    context
}

pub fn use_app() -> Context {
    expect_context::<Context>()
}

impl Context {
    /// One parameter of the address.
    pub fn param(&self, name: &'static str) -> Memo<Option<String>> {
        let query = self.query;
        Memo::new(move |_| query.with(|q| q.get(name).map(str::to_owned)))
    }

    /// Settles the window anew.
    pub fn refresh(&self) {
        self.refreshes.update(|n| *n = n.wrapping_add(1));
    }

    /// Changes parameters of the current page; a new step of the history, so that Back undoes it.
    pub fn set(&self, changes: &[(&str, Option<&str>)]) {
        self.go_changed(changes, false);
    }

    /// The same without a step of the history: for what changes while a person types or moves through rows.
    pub fn replace(&self, changes: &[(&str, Option<&str>)]) {
        self.go_changed(changes, true);
    }

    fn go_changed(&self, changes: &[(&str, Option<&str>)], replace: bool) {
        let mut query = self.query.get_untracked();
        for (name, value) in changes {
            query.set(name, *value);
        }
        let path = self.path.get_untracked();
        let to = query.href(&path);
        if to != self.query.get_untracked().href(&path) {
            self.go(&to, replace);
        }
    }

    pub fn set_range(&self, range: TimeRange) {
        let (start, end) = range.to_params();
        self.set(&[("start", Some(&start)), ("end", end.as_deref())]);
        self.refresh();
    }

    pub fn go(&self, to: &str, replace: bool) {
        let options = NavigateOptions { replace, scroll: false, ..NavigateOptions::default() };
        self.navigate.with_value(|navigate| navigate(to, options));
    }

    /// A link to another page that keeps the window and the scope.
    pub fn link(&self, path: &str, more: &[(&str, &str)]) -> String {
        let mut query = self.query.with(|q| q.only(&KEPT));
        for (name, value) in more {
            query.set(name, Some(value));
        }
        query.href(path)
    }

    /// The top bar's scope, and an expression of the page's own.
    pub fn filter(&self, own: Option<String>) -> Option<String> {
        let scope = self.environment.with(|env| self.namespace.with(|ns| filter::scope(env.as_deref(), ns.as_deref())));
        filter::all(&[own, scope])
    }

    /// `start` and `end` of the window, and a filter, as parameters of the API.
    pub fn ask(&self, own: Option<String>) -> Query {
        let window = self.window.get();
        let filter = self.filter(own);
        Query::default()
            .with("start", Some(&window.start.to_string()))
            .with("end", Some(&window.end.to_string()))
            .with("filter", filter.as_deref())
    }

    pub fn choose_theme(&self, theme: Theme) {
        self.theme.set(theme);
        apply_theme(theme);
        if let Some(storage) = storage() {
            // A browser that refuses storage only forgets the choice.
            let _ = storage.set_item("orrery.theme", theme.word());
        }
    }
}

pub fn apply_theme(theme: Theme) {
    if let Some(root) = document().document_element() {
        // Setting an attribute of an element that exists does not fail.
        let _ = match theme {
            Theme::System => root.remove_attribute("data-theme"),
            chosen => root.set_attribute("data-theme", chosen.word()),
        };
    }
}

pub fn storage() -> Option<web_sys::Storage> {
    window().local_storage().ok().flatten()
}

fn stored_theme() -> Theme {
    match storage().and_then(|s| s.get_item("orrery.theme").ok().flatten()).as_deref() {
        Some("dark") => Theme::Dark,
        Some("light") => Theme::Light,
        _ => Theme::System,
    }
}
