"""Charts, heat maps and the tables behind them."""
