"""The wire of `forecast.v1`, generated from protos/ by `make gen`. Never edited by hand."""
