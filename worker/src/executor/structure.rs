//! What a verify knows of SSTables: the vault's bytes on the one side, the reader of SSTables on the other.

use ringvault_cassandra::sstable::{
    Component, Descriptor,
    check::{Known, SstableCheck},
};
use ringvault_vault::{
    manifest::SstableEntry,
    verify::{SstableInspection, StructureCheck},
};

/// Begins a check of each SSTable whose name is one of Cassandra's.
#[derive(Debug)]
pub(super) struct Structure;

impl StructureCheck for Structure {
    fn begin(&self, sstable: &SstableEntry) -> Option<Box<dyn SstableInspection>> {
        let mut descriptor = None;
        let mut components = Vec::new();
        for file in &sstable.components {
            let (parsed, component) = Descriptor::parse_file_name(&sstable.name.file_name(&file.name))?;
            descriptor = Some(parsed);
            components.push((component, file.size));
        }
        let facts = sstable.facts;
        let known = Known {
            first: facts.first_token,
            last: facts.last_token,
            partitions: facts.partitions,
            rows: facts.rows,
        };
        Some(Box::new(Inspection(SstableCheck::new(descriptor?, components, known))))
    }
}

struct Inspection(SstableCheck);

impl SstableInspection for Inspection {
    fn rank(&self, component: &str) -> u8 {
        match Component::parse(component) {
            Some(Component::Statistics) => 0,
            Some(Component::CompressionInfo | Component::Crc) => 1,
            Some(Component::Data) => 2,
            _ => 3,
        }
    }

    fn sidecar(&self) -> Option<String> {
        self.0.sidecar().map(|component| component.to_string())
    }

    fn wants_sidecar(&self, coming: usize) -> bool {
        self.0.wants_sidecar(coming)
    }

    fn take(&mut self, component: &str, piece: &[u8]) {
        if let Some(component) = Component::parse(component) {
            self.0.take(&component, piece);
        }
    }

    fn end(&mut self, component: &str) {
        if let Some(component) = Component::parse(component) {
            self.0.end(&component);
        }
    }

    fn finish(self: Box<Self>) -> Vec<(String, String)> {
        let problems = self.0.finish().into_iter();
        problems.map(|problem| (problem.component.to_string(), problem.what)).collect()
    }
}

#[cfg(test)]
#[path = "structure_tests.rs"]
mod tests;
