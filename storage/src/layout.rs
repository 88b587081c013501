//! Where the attributes of a data file lie, as the catalog keeps it: which keys its maps hold. By it a query for a key
//! passes over the maps, or leaves the file unopened. Files alike share one layout.

use orrery_model::Scope;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::MapKeys;

/// Of one data file or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileLayout {
    pub map_keys: MapKeys,
}

/// As JSON: `{"resource":[],"item":["user.id"]}`; a map whose keys are not known is left out.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    item: Option<Vec<String>>,
}

impl FileLayout {
    /// Whether no map of the scope holds the key. `false` where that is not known.
    pub fn lacks(&self, scope: Scope, key: &str) -> bool {
        let keys = &self.map_keys[scope as usize];
        keys.as_ref().is_some_and(|keys| keys.binary_search_by(|known| known.as_str().cmp(key)).is_err())
    }

    /// The text that the catalog keeps.
    pub(crate) fn to_text(&self) -> String {
        let [resource, scope, item] = self.map_keys.clone();
        serde_json::to_string(&Stored { resource, scope, item }).expect("numbers and texts are JSON")
    }

    /// The inverse of [`Self::to_text`]; `None` for another text.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let Stored { resource, scope, item } = serde_json::from_str(text).ok()?;
        let mut map_keys = [resource, scope, item];
        map_keys.iter_mut().flatten().for_each(|keys| keys.sort_unstable());
        Some(Self { map_keys })
    }
}

/// The id of a layout by its text.
pub(crate) fn layout_id(text: &str) -> i64 {
    xxh3_64(text.as_bytes()).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_come_back_as_they_went() {
        let keys = |keys: &[&str]| Some(keys.iter().map(|k| (*k).to_owned()).collect());
        for map_keys in [MapKeys::default(), [keys(&[]), None, keys(&["user.id", "x\"y"])]] {
            let layout = FileLayout { map_keys };
            let text = layout.to_text();
            assert_eq!(FileLayout::from_text(&text), Some(layout), "{text}");
        }
        assert_eq!(FileLayout::from_text("[7"), None);
    }

    #[test]
    fn a_key_is_lacking_only_where_all_keys_are_known() {
        let keys = vec!["b".to_owned(), "d".to_owned()];
        let layout = FileLayout { map_keys: [Some(vec![]), None, Some(keys)] };
        for (scope, key, lacks) in [
            (Scope::Item, "b", false),
            (Scope::Item, "c", true),
            (Scope::Resource, "b", true),
            (Scope::Scope, "b", false),
        ] {
            assert_eq!(layout.lacks(scope, key), lacks, "{scope:?} {key}");
        }
    }
}
