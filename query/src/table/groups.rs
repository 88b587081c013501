//! Files alike in which of the keys that a query asks for no map of theirs holds. Each group is scanned in its own way.
//! Decided from what the catalog says of files, without opening them.

use std::sync::Arc;

use hashbrown::HashMap;
use orrery_model::Scope;
use orrery_storage::{DataFile, FileLayout};

use super::keys::FileKeys;
use crate::attributes::values::Place;

/// Files alike, in their order.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub place: Lacking,
    pub files: Vec<Arc<DataFile>>,
}

/// Of the asked keys those that no map of the files holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lacking(Vec<(Scope, String)>);

impl Place for Lacking {
    fn lacks(&self, scope: Scope, key: &str) -> bool {
        self.0.iter().any(|(s, k)| *s == scope && k == key)
    }
}

/// The files in groups. Those of which the catalog says nothing are asked themselves.
pub(super) async fn grouped(files: Vec<Arc<DataFile>>, asked: &[(Scope, String)], keys: &Arc<FileKeys>) -> Vec<Group> {
    if files.is_empty() {
        return Vec::new();
    }
    if asked.is_empty() {
        return vec![Group { place: Lacking::default(), files }];
    }
    let silent: Vec<Arc<DataFile>> = files.iter().filter(|file| file.layout.is_none()).cloned().collect();
    let mut read = keys.of(silent, asked).await.into_iter();
    let mut groups: Vec<Group> = Vec::new();
    // Thousands of files share a few layouts.
    let mut by_layout: HashMap<*const FileLayout, usize> = HashMap::new();
    for file in files {
        let known = file.layout.as_ref().and_then(|layout| by_layout.get(&Arc::as_ptr(layout)));
        let group = match known {
            Some(&group) => group,
            None => {
                let place = Lacking(match &file.layout {
                    Some(layout) => asked.iter().filter(|(scope, key)| layout.lacks(*scope, key)).cloned().collect(),
                    None => read.next().unwrap_or_default(),
                });
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
