//! `demo`: the gateway over a built-in simulated Gemini, with keys that run into limits, die and recover.

use std::{io, path::PathBuf, process::ExitCode};

use clap::Args;
use rand::{RngExt, distr::Alphanumeric};
use serde_json::json;

use super::{MISCONFIGURED, serve::until_a_signal};
use crate::{
    app::{self, Running, StartError},
    config::{Config, Sources},
    sim::{self, Plan, Sim, traffic::Traffic},
    telemetry,
};

#[derive(Debug, Args)]
pub struct Options {
    /// Port of the gateway; 0 takes a free one.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Send no requests of its own.
    #[arg(long)]
    no_traffic: bool,
    /// All keys are well and answer at once.
    #[arg(long)]
    healthy: bool,
}

#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("the simulated Gemini cannot start: {0}")]
    Sim(io::Error),
    #[error("the demo's folder cannot be made: {0}")]
    Folder(io::Error),
    #[error("{0}")]
    Config(#[from] crate::config::ConfigErrors),
    #[error(transparent)]
    Start(#[from] StartError),
}

pub fn run(options: &Options) -> ExitCode {
    actix_web::rt::System::new().block_on(async {
        match Demo::start(options).await {
            Ok(demo) => demo.run(options).await,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(MISCONFIGURED)
            }
        }
    })
}

struct Demo {
    running: Running,
    sim: Sim,
    token: String,
    admin_token: String,
    folder: Folder,
}

/// A data folder that goes with the demo.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning of its temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Demo {
    async fn start(options: &Options) -> Result<Self, DemoError> {
        let plan = if options.healthy { Plan::demo_healthy() } else { Plan::demo() };
        let keys = plan.key_names();
        let sim = sim::start(plan).await.map_err(DemoError::Sim)?;
        let path = std::env::temp_dir().join(format!("gemini-balance-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(DemoError::Folder)?;
        let folder = Folder(path);
        let token = random_token("sk-demo-");
        let admin_token = random_token("admin-");
        let loaded = Config::load(&Sources {
            dir: folder.0.clone(),
            env: vec![
                ("API_KEYS".to_owned(), json!(keys).to_string()),
                ("ALLOWED_TOKENS".to_owned(), json!([token]).to_string()),
                ("AUTH_TOKEN".to_owned(), admin_token.clone()),
                ("BASE_URL".to_owned(), format!("{}/v1beta", sim.base_url)),
                ("PORT".to_owned(), options.port.to_string()),
                ("TEST_MODEL".to_owned(), "gemini-2.5-flash".to_owned()),
            ],
        })?;
        let log_level = telemetry::init(&loaded.config.logs);
        let running = app::start(loaded, log_level).await?;
        Ok(Self { running, sim, token, admin_token, folder })
    }

    async fn run(self, options: &Options) -> ExitCode {
        let Self { running, sim, token, admin_token, folder } = self;
        let gateway = format!("http://{}", running.address);
        let traffic = (!options.no_traffic).then(|| Traffic::start(&gateway, &token));
        println!("{}", greeting(&gateway, &sim.base_url, &token, &admin_token));
        let ready =
            json!({"gateway": gateway, "token": token, "admin_token": admin_token, "sim": sim.base_url});
        println!("ready {ready}");
        let status = until_a_signal(running).await;
        drop(traffic);
        sim.stop().await;
        drop(folder);
        status
    }
}

fn random_token(prefix: &str) -> String {
    let random = rand::rng().sample_iter(Alphanumeric).take(24).map(char::from);
    prefix.chars().chain(random).collect()
}

fn greeting(gateway: &str, sim: &str, token: &str, admin_token: &str) -> String {
    format!(
        r#"
Gemini Balance is running over a simulated Gemini; nothing leaves this machine, and nothing is kept.

  dashboard        {gateway}/   (log in with {admin_token})
  gateway          {gateway}
  readiness        {gateway}/ready
  metrics          {gateway}/metrics
  simulated Gemini {sim}   (its state: {sim}/_sim/state)
  client token     {token}

Try it with curl:

  curl {gateway}/v1/chat/completions \
    -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
    -d '{{"model":"gemini-2.5-flash","messages":[{{"role":"user","content":"Hello!"}}]}}'

or with the OpenAI SDK (pip install openai):

  from openai import OpenAI
  client = OpenAI(base_url="{gateway}/v1", api_key="{token}")
  answer = client.chat.completions.create(
      model="gemini-2.5-flash", messages=[{{"role": "user", "content": "Hello!"}}])
  print(answer.choices[0].message.content)

Stop it with Ctrl+C.
"#
    )
}
