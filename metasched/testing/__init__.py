"""What tests of metasched and of its plug-ins share: suites, contracts and comparisons."""
