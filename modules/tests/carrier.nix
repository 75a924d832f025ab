# A carrier with everything that must be said, and a password.
{
  services.compliance-nats = {
    enable = true;
    keyFile = "/run/secrets/carrier-nats.key";
    passwordFile = "/run/secrets/nats.password";
    settings = {
      mcp = "https://mcp.example:8444";
      ca = "/etc/compliance/ca.pem";
      cert = "/etc/compliance/carrier-nats.pem";
      nats = {
        server = "tls://nats.example:4222";
        ca = "/etc/compliance/ca.pem";
        user = "compliance";
      };
    };
  };
}
