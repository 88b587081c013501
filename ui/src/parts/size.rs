//! The size of an element as a signal, for what is drawn by hand.

use leptos::html::ElementType;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;

/// Width and height in CSS pixels, kept up to date; zero until the element is there.
pub fn use_size<E>(element: NodeRef<E>) -> RwSignal<(f64, f64)>
where
    E: ElementType + 'static,
    E::Output: JsCast + Clone + AsRef<web_sys::Element> + 'static,
{
    let size = RwSignal::new((0.0, 0.0));
    let held: StoredValue<Option<(web_sys::ResizeObserver, Closure<dyn FnMut()>)>, LocalStorage> =
        StoredValue::new_local(None);
    Effect::new(move |_| {
        let Some(element) = element.get() else { return };
        let element = AsRef::<web_sys::Element>::as_ref(&element).clone();
        let watched = element.clone();
        let measure = Closure::<dyn FnMut()>::new(move || {
            let rect = watched.get_bounding_client_rect();
            if size.try_get_untracked().is_some_and(|known| known != (rect.width(), rect.height())) {
                size.set((rect.width(), rect.height()));
            }
        });
        if let Ok(observer) = web_sys::ResizeObserver::new(measure.as_ref().unchecked_ref()) {
            observer.observe(&element);
            held.set_value(Some((observer, measure)));
        }
    });
    on_cleanup(move || {
        held.try_update_value(|held| {
            if let Some((observer, _)) = held.take() {
                observer.disconnect();
            }
        });
    });
    size
}
