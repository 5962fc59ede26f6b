fn main() -> std::process::ExitCode {
    countersign_cli::main()
}
