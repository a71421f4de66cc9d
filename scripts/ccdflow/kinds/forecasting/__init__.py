"""Forecasts of each night, before a pixel is read: its masters, its noise, its missing frames."""
