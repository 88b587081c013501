//! Where the attributes of a data file lie, as the catalog keeps it: which keys its maps hold and which have a column in it.
//! By it a query for a key reads a column, a map, both, or leaves the file unopened. Files alike share one layout.

use orrery_model::{LearnedColumn, Scope, ValueType};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::MapKeys;

/// Of one data file or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileLayout {
    pub map_keys: MapKeys,
    /// The learned columns that the file has, in the order of their field ids.
    pub learned: Vec<LearnedColumn>,
}

/// As JSON: `{"columns":[[10000,"item","user.id","string"]],"resource":[],"item":["line"]}`; a map whose keys are not known
/// is left out.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// Field id, scope, key and type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<(i32, String, String, String)>,
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
        let column = |column: &LearnedColumn| {
            let (scope, value_type) = (column.scope.word().to_owned(), column.value_type.word().to_owned());
            (column.field_id, scope, column.key.clone(), value_type)
        };
        let columns = self.learned.iter().map(column).collect();
        serde_json::to_string(&Stored { columns, resource, scope, item }).expect("numbers and texts are JSON")
    }

    /// The inverse of [`Self::to_text`]; `None` for another text.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let Stored { columns, resource, scope, item } = serde_json::from_str(text).ok()?;
        let column = |(field_id, scope, key, value_type): (i32, String, String, String)| {
            let (scope, value_type) = (Scope::from_word(&scope)?, ValueType::from_word(&value_type)?);
            Some(LearnedColumn { field_id, scope, key, value_type })
        };
        let learned = columns.into_iter().map(column).collect::<Option<_>>()?;
        let mut map_keys = [resource, scope, item];
        map_keys.iter_mut().flatten().for_each(|keys| keys.sort_unstable());
        Some(Self { map_keys, learned })
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
        let column =
            |field_id, scope, key: &str, value_type| LearnedColumn { field_id, scope, key: key.to_owned(), value_type };
        let learned = vec![
            column(10_000, Scope::Item, "a'\"b", ValueType::Int),
            column(10_007, Scope::Resource, "a", ValueType::String),
        ];
        for layout in [
            FileLayout::default(),
            FileLayout { map_keys: [keys(&[]), None, keys(&["user.id", "x\"y"])], learned: Vec::new() },
            FileLayout { map_keys: MapKeys::default(), learned },
        ] {
            let text = layout.to_text();
            assert_eq!(FileLayout::from_text(&text), Some(layout), "{text}");
        }
        for text in ["[7", r#"{"columns":[[1,"item","k","decimal"]]}"#, r#"{"columns":[[1,"items","k","int"]]}"#] {
            assert_eq!(FileLayout::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_is_lacking_only_where_all_keys_are_known() {
        let keys = vec!["b".to_owned(), "d".to_owned()];
        let layout = FileLayout { map_keys: [Some(vec![]), None, Some(keys)], learned: Vec::new() };
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
