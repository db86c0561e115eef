from pwact.cli import main

main()
