//! nginx as a reverse proxy, set up as one does who cares for speed: connections to the origins are kept, logs buffered.

use std::net::SocketAddr;
use std::process::Command;

use super::{Site, WORKERS, write};
use crate::bench::setup::Setup;
use crate::programs;

/// What ours does for each request, in nginx's words.
const SAME_WORK: &str = r#"
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $host;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header X-Forwarded-Path $request_uri;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header Via "1.1 nginx";
            proxy_set_header X-Kong-Request-Id $request_id;
            add_header Via "1.1 nginx";
            add_header X-Kong-Request-Id $request_id;
            add_header X-Kong-Upstream-Latency $upstream_header_time;
            add_header X-Kong-Proxy-Latency $request_time;"#;

pub(super) fn command(same_work: bool, site: &Site<'_>) -> Result<Command, String> {
    let nginx = programs::find("nginx").ok_or("nginx is not installed")?;
    let file = site.dir.join("nginx.conf");
    write(&file, &configuration(same_work, site))?;
    let mut command = Command::new(nginx);
    command
        .arg("-e")
        .arg("stderr")
        .arg("-p")
        .arg(site.dir)
        .arg("-c")
        .arg(file);
    Ok(command)
}

fn configuration(same_work: bool, site: &Site<'_>) -> String {
    // Started by root it would change to another user, who cannot enter the directory.
    let user = match rustix::process::geteuid().is_root() {
        true => "user root;",
        false => "",
    };
    let log = match site.setup {
        Setup::Logs => "access_log access.log combined buffer=64k flush=1s;",
        _ => "access_log off;",
    };
    let work = if same_work { SAME_WORK } else { "" };
    let servers = |origins: &[SocketAddr]| -> String {
        origins
            .iter()
            .map(|origin| format!("        server {origin};\n"))
            .collect()
    };
    let (plain, grpc) = (servers(&site.origins.addresses), servers(&site.origins.grpc));
    let (address, second) = (site.address, site.second);
    let more = match site.setup {
        Setup::Tls => format!(
            "listen {second} ssl http2 reuseport;
        ssl_certificate cert.pem;
        ssl_certificate_key key.pem;
        ssl_protocols TLSv1.3;"
        ),
        Setup::Grpc => format!(
            "listen {second} http2 reuseport;
        location /bench.Echo/ {{
            grpc_pass grpc://calls;{}
        }}",
            work.replace("proxy_set_header", "grpc_set_header")
        ),
        _ => String::new(),
    };
    format!(
        r#"{user}
daemon off;
worker_processes {WORKERS};
worker_rlimit_nofile 20000;
pid nginx.pid;
error_log stderr error;
events {{
    worker_connections 16384;
}}
http {{
    {log}
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    proxy_max_temp_file_size 0;
    keepalive_requests 1000000000;
    upstream origin {{
{plain}        keepalive 128;
        keepalive_requests 1000000000;
    }}
    upstream calls {{
{grpc}        keepalive 128;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address} reuseport;
        {more}
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";{work}
        }}
    }}
}}
"#
    )
}
