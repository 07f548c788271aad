"""`vanta templates`: list, show, render, create and check prompt templates."""
