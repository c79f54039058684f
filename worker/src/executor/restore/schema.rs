//! `schema`: the target's tables exist and fit.

use ringvault_cassandra::schema::{
    CreateOptions, ObjectKind, TableComparison, TypeMisfit, compare_table, compare_types,
};
use ringvault_core::{
    TaskError,
    task::{RestoreTask, SchemaResult},
};

use crate::executor::Executor;
use ringvault_fault::point;

impl Executor {
    pub(in crate::executor) async fn schema(&self, task: &RestoreTask) -> Result<SchemaResult, TaskError> {
        let plan = self.read_plan(task).await?;
        let wanted = self.wanted_schema(&plan).await?;
        let tables = plan.targets();
        let cql = self.node.cql().await?;
        let mut created = Vec::new();
        if !task.spec.skip_schema {
            let options = CreateOptions {
                whole_keyspaces: plan.whole_keyspaces(),
                replication: plan.replication_of_new_keyspaces(),
                ..CreateOptions::default()
            };
            let mut now = wanted.clone();
            now.objects.retain(|object| !plan.is_made_last(object));
            point!("schema.create.before").hit().await?;
            created = cql.create_missing(&now, &plan.selection(), &options).await?.created;
            point!("schema.create.after").hit().await?;
        }
        self.make_auth_copies(&plan, &wanted, &cql).await?;
        // Also when this attempt made nothing: an earlier one may have, just now.
        cql.wait_schema_agreement(CreateOptions::default().agreement_timeout).await?;
        // The schema may have changed since the plan: what is there now is compared once more.
        let existing = cql.schema().await?;
        let mut misfits = Vec::new();
        for table in &tables {
            let Some(shape) = wanted.shape(&table.keyspace, &table.table) else { continue };
            match existing.shape(&table.keyspace, &table.table) {
                None => misfits.push(format!("{table} does not exist")),
                Some(now) => {
                    if let TableComparison::Incompatible { reasons } = compare_table(shape, now) {
                        misfits.push(format!("{table}: {}", reasons.join(", ")));
                    }
                }
            }
        }
        misfits.extend(compare_types(&wanted, &existing, &tables).into_iter().map(|misfit| match misfit {
            TypeMisfit::Missing { name } => format!("type {name} does not exist"),
            TypeMisfit::Differs { name } => format!("type {name} is not what it was"),
        }));
        if !misfits.is_empty() {
            return Err(TaskError::permanent(
                "RV-SCHEMA",
                format!(
                    "the target's schema does not fit the backup: {}. No data was changed",
                    misfits.join("; ")
                ),
            )
            .with_next("mend the target's schema, then: ringvault job retry JOB"));
        }
        self.refuse_changed_ring(&plan).await?;
        Ok(SchemaResult { created })
    }

    /// A planned table that is not there any more, said in one error before it is loaded.
    pub(super) async fn refuse_missing_tables(
        &self,
        tables: &[ringvault_core::selection::TableName],
    ) -> Result<(), TaskError> {
        let cql = self.node.cql().await?;
        let existing = cql.schema().await?;
        let gone: Vec<String> = tables
            .iter()
            .filter(|table| existing.find(ObjectKind::Table, &table.keyspace, &table.table).is_none())
            .map(ToString::to_string)
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        Err(TaskError::permanent(
            "RV-TABLE-GONE",
            format!(
                "{} dropped after the restore had created or found it: nothing more was loaded",
                gone.join(", ")
            ),
        )
        .with_next("run the restore anew: ringvault restore run"))
    }
}
