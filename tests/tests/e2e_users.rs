//! Roles and grants come back, also those that were dropped since: what the backup has, and with
//! `--truncate` nothing else.

use anyhow::{Result, ensure};
use ringvault_tests::{
    Lab, Ringvault,
    cql::Cql,
    lab::T1,
    ringvault::{exit, fresh},
};

type Grant = (String, String);

async fn grants(cql: &Cql) -> Result<Vec<Grant>> {
    let mut rows: Vec<Grant> = cql.rows("SELECT role, resource FROM system_auth.role_permissions").await?;
    rows.retain(|(role, _)| role.starts_with("e2e_"));
    rows.sort();
    Ok(rows)
}

fn named(rows: &[(&str, &str)]) -> Vec<Grant> {
    rows.iter().map(|(role, resource)| ((*role).to_owned(), (*resource).to_owned())).collect()
}

async fn grant(cql: &Cql, role: &str, resource: &str) -> Result<()> {
    cql.run_all(&[
        format!("INSERT INTO system_auth.roles (role, can_login) VALUES ('{role}', true)"),
        format!(
            "INSERT INTO system_auth.role_permissions (role, resource, permissions) \
             VALUES ('{role}', '{resource}', {{'SELECT'}})"
        ),
    ])
    .await
}

async fn forget(cql: &Cql, role: &str) -> Result<()> {
    cql.run_all(&[
        format!("DELETE FROM system_auth.roles WHERE role = '{role}'"),
        format!("DELETE FROM system_auth.role_permissions WHERE role = '{role}'"),
    ])
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_roles_come_back_and_those_made_since_go_when_asked() -> Result<()> {
    let lab = Lab::from_env();
    let cql = Cql::connect(&lab, T1).await?;
    grant(&cql, "e2e_old", "data/a").await?;
    grant(&cql, "e2e_changed", "data/a").await?;
    let rv = Ringvault::of(&lab).await?;
    let backup = fresh("roles");
    rv.backup(T1, &backup, &["--keyspace", "system_auth"]).await?;

    // Deletions, and they are flushed: newer than anything that the backup holds.
    forget(&cql, "e2e_old").await?;
    forget(&cql, "e2e_changed").await?;
    grant(&cql, "e2e_changed", "data/b").await?;
    grant(&cql, "e2e_new", "data/a").await?;
    rv.restore(&backup, T1, &["--table", "system_auth.role_permissions"]).await?;
    let merged = grants(&cql).await?;
    let expected = named(&[
        ("e2e_changed", "data/a"),
        ("e2e_changed", "data/b"),
        ("e2e_new", "data/a"),
        ("e2e_old", "data/a"),
    ]);
    ensure!(merged == expected, "merged: {merged:?}");

    let whole = ["--keyspace", "system_auth", "--truncate", "--confirm", T1];
    rv.restore(&backup, T1, &whole).await?;
    let exact = grants(&cql).await?;
    ensure!(exact == named(&[("e2e_changed", "data/a"), ("e2e_old", "data/a")]), "exact: {exact:?}");
    let roles: Vec<(String,)> = cql.rows("SELECT role FROM system_auth.roles").await?;
    let has = |name: &str| roles.iter().any(|(role,)| role == name);
    ensure!(has("cassandra") && has("e2e_old") && !has("e2e_new"), "{roles:?}");

    let left = cql.keyspaces("ringvault_").await?;
    ensure!(left.is_empty(), "copies were left: {left:?}");
    let snapshots = lab.snapshots(T1).await?;
    ensure!(snapshots.is_empty(), "snapshots were left: {snapshots:?}");
    let plan =
        rv.run(&["restore", "plan", "--from", &backup, "--to", T1, "--keyspace", "system_auth"]).await?;
    ensure!(plan.code == exit::OK && plan.stdout.contains("roles and grants become"), "{}", plan.stdout);
    for role in ["e2e_old", "e2e_changed"] {
        forget(&cql, role).await?;
    }
    Ok(())
}
