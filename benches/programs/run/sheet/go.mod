module sheet

go 1.24
