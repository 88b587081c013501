//! The last painting of a large map, moved and stretched while the map is: thousands of curves take longer to paint than
//! a frame lasts.

use leptos::prelude::document;
use wasm_bindgen::JsCast;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement};

use crate::map_view::Viewport;

pub struct Picture {
    copy: HtmlCanvasElement,
    viewport: Viewport,
}

impl Picture {
    /// Copies what was painted for a viewport; `None` where the browser gives no second canvas.
    pub fn take(painted: &HtmlCanvasElement, viewport: Viewport) -> Option<Picture> {
        let copy: HtmlCanvasElement = document().create_element("canvas").ok()?.dyn_into().ok()?;
        copy.set_width(painted.width());
        copy.set_height(painted.height());
        let context: CanvasRenderingContext2d = copy.get_context("2d").ok()??.dyn_into().ok()?;
        context.draw_image_with_html_canvas_element(painted, 0.0, 0.0).ok()?;
        Some(Picture { copy, viewport })
    }

    /// Draws it as it lies in another viewport.
    pub fn show(&self, context: &CanvasRenderingContext2d, size: (f64, f64), viewport: Viewport) {
        let (factor, x, y) = viewport.relative_to(&self.viewport);
        // A picture that cannot be drawn leaves the map blank until it rests.
        let _ = context.draw_image_with_html_canvas_element_and_dw_and_dh(
            &self.copy,
            x,
            y,
            size.0 * factor,
            size.1 * factor,
        );
    }
}
