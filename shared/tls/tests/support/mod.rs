//! An authority of a test's own, and certificates that it signs.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// From and to which year a certificate is valid.
pub type Years = (i32, i32);
pub const GOOD: Years = (2020, 2099);
pub const OVER: Years = (2020, 2021);

/// An authority with a folder, where its certificate is `ca.pem`.
pub struct Authority {
    folder: TempDir,
    name: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate's file and its key's.
#[derive(Debug, Clone)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// With a name of its own: two of one name are told apart by their signatures alone.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let name = format!("authority of {}", folder.path().display());
        Self::make(folder, name)
    }

    pub fn named(name: &str) -> Self {
        Self::make(TempDir::new().expect("a temporary folder"), name.to_owned())
    }

    pub fn name(&self) -> String {
        self.name.clone()
    }

    fn make(folder: TempDir, name: String) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        let pem = params.self_signed(&key).expect("signed").pem();
        std::fs::write(folder.path().join("ca.pem"), pem).expect("written");
        Self { folder, name, issuer: Issuer::new(params, key) }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn ca(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// A certificate for a host or a user of that name, in `<name>.pem` and `<name>.key`.
    pub fn issue(&self, name: &str, years: Years) -> Files {
        self.issue_for(name, &[name], years)
    }

    /// One whose files and common name are `name`, for these hosts.
    pub fn issue_for(&self, name: &str, hosts: &[&str], years: Years) -> Files {
        let key = KeyPair::generate().expect("a key");
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("good names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let pem = params.signed_by(&key, &self.issuer).expect("signed").pem();
        let files =
            Files { certificate: self.file(&format!("{name}.pem")), key: self.file(&format!("{name}.key")) };
        std::fs::write(&files.certificate, pem).expect("written");
        std::fs::write(&files.key, key.serialize_pem()).expect("written");
        files
    }
}
