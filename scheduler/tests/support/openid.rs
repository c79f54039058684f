//! A real OpenID Connect provider, and a browser that goes to it and back.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use reqwest::{
    Method, RequestBuilder, Response, Url,
    header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE},
    redirect::Policy,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::authority::Files;

/// Where browsers reach the schedulers, in the tests' configuration: [`Browser`] knows where they are.
pub const BASE: &str = "https://ringvault.test";
/// The client's secret; with what must be escaped in a header.
pub const SECRET: &str = "hush hush/+=%";

/// node-oidc-provider; ends with the value.
pub struct Provider {
    pub issuer: String,
    base: String,
    folder: TempDir,
    process: Child,
}

impl Provider {
    /// `anna` is an sre, `ben` of the staff, `carl` of nothing that counts. `more` changes the settings; `base`
    /// is where browsers reach the scheduler.
    pub fn start(more: Value) -> Self {
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            free.local_addr().expect("its address").port()
        };
        let issuer = format!("{}://localhost:{port}", if more["tls"].is_null() { "http" } else { "https" });
        let base = more["base"].as_str().unwrap_or(BASE).to_owned();
        let redirect = format!("{base}/v1/sign-in/openid/callback");
        let client = |id: &str, more: Value| {
            let mut client = json!({
                "client_id": id, "redirect_uris": [redirect],
                "grant_types": ["authorization_code"], "response_types": ["code"],
            });
            for (field, value) in more.as_object().expect("fields") {
                client[field] = value.clone();
            }
            client
        };
        let mut settings = json!({
            "issuer": issuer,
            "port": port,
            "clients": [
                client("ringvault", json!({"client_secret": SECRET})),
                client("public", json!({"token_endpoint_auth_method": "none"})),
                client("cli", json!({
                    "client_secret": SECRET, "grant_types": ["client_credentials"],
                    "redirect_uris": [], "response_types": [],
                })),
            ],
            "people": {
                "anna": {"email": "anna@example.com", "email_verified": true, "groups": ["sre", "staff"]},
                "ben": {"preferred_username": "ben", "groups": ["staff"]},
                "carl": {"email": "carl@example.com", "groups": ["cooks"]},
            },
        });
        for (field, value) in more.as_object().expect("settings") {
            settings[field] = value.clone();
        }
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("settings.json"), settings.to_string()).expect("the settings");
        let process = run(&folder);
        Self { issuer, base, folder, process }
    }

    /// Over TLS with this certificate.
    pub fn over_tls(files: &Files) -> Self {
        Self::start(json!({"tls": {"certificate": files.certificate, "key": files.key}}))
    }

    /// `[oidc]` for it, with more lines.
    pub fn section(&self, more: &str) -> String {
        format!(
            "[oidc]\nissuer = \"{}\"\nclient_id = \"ringvault\"\nbase_url = \"{}\"\nname = \"Example\"\n\
             scopes = [\"email\", \"profile\", \"groups\"]\nclient_secret_file = \"{}\"\n{more}\n\
             [oidc.groups]\nsre = \"operator\"\nstaff = \"viewer\"\nmachines = \"viewer\"\nlead = \"admin\"\n",
            self.issuer,
            self.base,
            self.secret_file(SECRET).display(),
        )
    }

    /// A file with a client's secret.
    pub fn secret_file(&self, secret: &str) -> std::path::PathBuf {
        let file = self.folder.path().join("secret");
        std::fs::write(&file, format!("{secret}\n")).expect("the secret");
        file
    }

    /// Says something to the tests' own door.
    pub async fn tell(&self, what: &str, body: Value) -> Value {
        let request = reqwest::Client::new().post(format!("{}/test/{what}", self.issuer)).json(&body);
        request.send().await.expect("an answer").json().await.expect("JSON")
    }

    /// It is away.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// It is back, with other keys.
    pub fn again(&mut self) {
        self.process = run(&self.folder);
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(folder: &TempDir) -> Child {
    let package = std::env::var("RINGVAULT_TEST_OPENID").expect(
        "RINGVAULT_TEST_OPENID is not set: this test needs an OpenID Connect provider, run it with dev/test",
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openid/provider.mjs");
    let log = folder.path().join("log");
    let mut process = Command::new("node")
        .arg(script)
        .arg(package)
        .arg(folder.path().join("settings.json"))
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log).expect("a log"))
        .spawn()
        .expect("Node.js runs");
    let told = BufReader::new(process.stdout.take().expect("its output"));
    let is_ready = told.lines().map_while(Result::ok).any(|line| line == "ready");
    if !is_ready {
        let _ = process.kill().and_then(|()| process.wait());
        panic!("the provider does not listen: {}", std::fs::read_to_string(log).unwrap_or_default());
    }
    process
}

/// Somebody's browser: it keeps cookies by host and path, and follows redirects only when it is told to.
pub struct Browser {
    client: reqwest::Client,
    /// Where the scheduler is that [`BASE`] leads to.
    pub scheduler: String,
    /// By host and name: value and path.
    pub cookies: HashMap<(String, String), (String, String)>,
}

impl Browser {
    pub fn new(scheduler: &str) -> Self {
        let client = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client");
        Self { client, scheduler: scheduler.to_owned(), cookies: HashMap::new() }
    }

    /// A cookie of the scheduler's.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let key = ("ringvault.test".to_owned(), name.to_owned());
        self.cookies.get(&key).map(|(value, _)| value.as_str())
    }

    pub async fn get(&mut self, url: &str) -> Response {
        let request = self.client.get(self.place(url));
        self.send(request, url).await
    }

    /// As a page of the scheduler's own does.
    pub async fn page(&mut self, method: Method, path: &str) -> Response {
        let url = format!("{BASE}{path}");
        let request = self.client.request(method, self.place(&url)).header("x-ringvault-page", "1");
        self.send(request, &url).await
    }

    async fn send(&mut self, request: RequestBuilder, url: &str) -> Response {
        let (host, path) = split(url);
        let mut cookies = Vec::new();
        for ((of, name), (value, below)) in &self.cookies {
            if *of == host && path.starts_with(below.as_str()) {
                cookies.push(format!("{name}={value}"));
            }
        }
        let request = if cookies.is_empty() { request } else { request.header(COOKIE, cookies.join("; ")) };
        let response = request.send().await.expect("an answer");
        self.keep(&host, &response);
        response
    }

    fn keep(&mut self, host: &str, response: &Response) {
        for set in response.headers().get_all(SET_COOKIE) {
            let mut parts = set.to_str().expect("text").split("; ");
            let (name, value) = parts.next().and_then(|part| part.split_once('=')).expect("a cookie");
            let of_path =
                |part: &str| part.to_ascii_lowercase().starts_with("path=").then(|| part[5..].to_owned());
            let path = parts.find_map(of_path).unwrap_or_else(|| "/".to_owned());
            let key = (host.to_owned(), name.to_owned());
            if value.is_empty() {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, (value.to_owned(), path));
            }
        }
    }

    fn place(&self, url: &str) -> String {
        url.strip_prefix(BASE).map_or_else(|| url.to_owned(), |rest| format!("{}{rest}", self.scheduler))
    }

    /// Goes to the provider and signs in there: where that sends it back to.
    pub async fn reach_callback(&mut self, person: &str) -> String {
        let mut url = format!("{BASE}/v1/sign-in/openid?to=/ui/jobs");
        for _ in 0..10 {
            let answer = self.get(&url).await;
            let next = if let Some(next) = leads(&answer, &url) {
                next
            } else {
                assert_eq!(answer.status(), 200, "{url}");
                let page = answer.text().await.expect("a page");
                let action = page.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
                let action = action.unwrap_or_else(|| panic!("no form in {page}")).to_owned();
                self.log_in(&action, person).await
            };
            if next.starts_with(&format!("{BASE}/v1/sign-in/openid/callback")) {
                return next;
            }
            url = next;
        }
        panic!("the provider sends the browser round and round: {url}");
    }

    async fn log_in(&mut self, action: &str, person: &str) -> String {
        let request = self
            .client
            .post(action)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("prompt=login&login={person}&password=x"));
        let answer = self.send(request, action).await;
        leads(&answer, action).expect("it goes on")
    }

    /// The whole way, up to the scheduler's last word.
    pub async fn sign_in(&mut self, person: &str) -> Response {
        let callback = self.reach_callback(person).await;
        self.get(&callback).await
    }
}

fn split(url: &str) -> (String, String) {
    let url = Url::parse(url).expect("a URL");
    (url.host_str().expect("a host").to_owned(), url.path().to_owned())
}

fn leads(answer: &Response, from: &str) -> Option<String> {
    let to = answer.headers().get(LOCATION)?.to_str().expect("text");
    Some(Url::parse(from).expect("a URL").join(to).expect("a place").to_string())
}
