//! Where the labels of the map's edges come to lie: on their curves, clear of boxes and of each other. Never draws.

use crate::map_view::{Point, on_curve};

/// A box of the drawing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Rect {
    pub fn around(centre: Point, width: f64, height: f64) -> Rect {
        Rect {
            left: centre.x - width / 2.0,
            top: centre.y - height / 2.0,
            right: centre.x + width / 2.0,
            bottom: centre.y + height / 2.0,
        }
    }

    pub fn overlaps(&self, other: &Rect) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }
}

/// Places along a curve, the best first: the middle, then outwards.
const PLACES: [f64; 9] = [0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.18, 0.82];

/// The first place on the curve where a label of that size is clear of what is taken.
pub fn place(curve: &[Point; 4], width: f64, height: f64, taken: &[Rect]) -> Option<Point> {
    PLACES.into_iter().map(|t| on_curve(curve, t)).find(|at| {
        let label = Rect::around(*at, width, height);
        !taken.iter().any(|t| t.overlaps(&label))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_one_line_lie_beside_each_other_until_there_is_no_room() {
        let at = |x: f64| Point { x, y: 0.0 };
        let line = [at(0.0), at(100.0), at(200.0), at(300.0)];
        let mut taken = vec![Rect::around(at(0.0), 80.0, 40.0)];
        let mut placed = Vec::new();
        while let Some(found) = place(&line, 40.0, 14.0, &taken) {
            taken.push(Rect::around(found, 40.0, 14.0));
            placed.push(found.x);
        }
        let rounded: Vec<i64> = placed.iter().map(|x| x.round() as i64).collect();
        // The middle, then outwards; nearer to the start lies the box, and between them there is no room.
        assert_eq!(rounded, [150, 102, 198, 246]);
    }
}
