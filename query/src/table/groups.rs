//! Files alike in where the attributes that a query asks for lie: in columns of theirs, in their maps, in both or in
//! neither. Each group is scanned in its own way. Decided from what the catalog says of files, without opening them.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;
use orrery_model::{LearnedColumn, Scope};
use orrery_storage::{DataFile, FileLayout};

use super::keys::FileKeys;
use crate::attributes::values::Place;

/// What a query reads of attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub keys: Vec<(Scope, String)>,
    /// The scopes of which it reads maps, whole or as stored, indexed by [`Scope`].
    pub maps: [bool; Scope::ALL.len()],
}

impl Asked {
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.maps.contains(&true)
    }

    fn wants(&self, column: &LearnedColumn) -> bool {
        self.maps[column.scope as usize] || self.keys.iter().any(|(s, k)| *s == column.scope && *k == column.key)
    }
}

/// Files alike, in their order.
#[derive(Debug)]
pub(super) struct Group {
    pub place: FilesPlace,
    pub files: Vec<Arc<DataFile>>,
}

/// What is known of a group's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FilesPlace {
    /// Of the asked keys those that no map of theirs holds.
    lacking: Vec<(Scope, String)>,
    /// Of the columns that they have learned those that are asked for.
    learned: Vec<LearnedColumn>,
    /// Columns that are NULL, or empty maps or lists, in every row, as far as that is known.
    pub empty: BTreeSet<String>,
    /// Columns that are read as dictionaries.
    pub coded: BTreeSet<&'static str>,
}

impl Place for FilesPlace {
    fn lacks(&self, scope: Scope, key: &str) -> bool {
        self.lacking.iter().any(|(s, k)| *s == scope && k == key)
    }

    fn learned(&self) -> &[LearnedColumn] {
        &self.learned
    }

    fn is_empty(&self, column: &str) -> bool {
        self.empty.contains(column)
    }

    fn is_coded(&self, column: &str) -> bool {
        self.coded.contains(column)
    }
}

/// The files in groups. Those of which the catalog says nothing are asked themselves.
pub(super) async fn grouped(files: Vec<Arc<DataFile>>, asked: &Asked, keys: &Arc<FileKeys>) -> Vec<Group> {
    if files.is_empty() {
        return Vec::new();
    }
    if asked.is_empty() {
        return vec![Group { place: FilesPlace::default(), files }];
    }
    let silent: Vec<Arc<DataFile>> = files.iter().filter(|file| file.layout.is_none()).cloned().collect();
    let mut read = keys.of(silent, &asked.keys).await.into_iter();
    let mut groups: Vec<Group> = Vec::new();
    // Thousands of files share a few layouts.
    let mut by_layout: HashMap<*const FileLayout, usize> = HashMap::new();
    for file in files {
        let known = file.layout.as_ref().and_then(|layout| by_layout.get(&Arc::as_ptr(layout)));
        let group = match known {
            Some(&group) => group,
            None => {
                let place = match &file.layout {
                    Some(layout) => of_layout(layout, asked),
                    None => {
                        let lacking = read.next().unwrap_or_default();
                        FilesPlace { lacking, ..FilesPlace::default() }
                    }
                };
                let group = groups.iter().position(|group| group.place == place).unwrap_or_else(|| {
                    groups.push(Group { place, files: Vec::new() });
                    groups.len() - 1
                });
                if let Some(layout) = &file.layout {
                    by_layout.insert(Arc::as_ptr(layout), group);
                }
                group
            }
        };
        groups[group].files.push(file);
    }
    groups
}

fn of_layout(layout: &FileLayout, asked: &Asked) -> FilesPlace {
    FilesPlace {
        lacking: asked.keys.iter().filter(|(scope, key)| layout.lacks(*scope, key)).cloned().collect(),
        learned: layout.learned.iter().filter(|column| asked.wants(column)).cloned().collect(),
        ..FilesPlace::default()
    }
}
